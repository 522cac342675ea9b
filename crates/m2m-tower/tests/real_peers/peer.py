"""A peer in Python: PyJWT, requests and OpenSSL. See foreign.rs for what it does and why."""

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import platform
import re
import ssl
import sys
import threading
import time

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

WORLD = json.loads(pathlib.Path(sys.argv[1]).read_text())
DIRECTORY = pathlib.Path(WORLD["directory"])
TOKENS = WORLD["tokens"]
FETCHED = set()


def say(**line):
    print(json.dumps(line), flush=True)


def case(name, outcome):
    say(case=name, outcome=outcome)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- Its keys, and where it publishes them ------------------------------------------------------------

KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "PS256": rsa.generate_private_key(65537, 2048),
    "RS256": rsa.generate_private_key(65537, 2048),
}
ATTACKER = ec.generate_private_key(ec.SECP256R1())


def jwk(algorithm, key, kid):
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    return {**public, "kid": kid, "alg": algorithm, "use": "sig"}


def key_set(*keys):
    return json.dumps({"keys": keys}).encode()


PUBLISHED = {
    "/jwks.json": key_set(*(jwk(name, key, f"py-{name}") for name, key in KEYS.items())),
    "/attacker.json": key_set(jwk("ES256", ATTACKER, "attacker")),
}


class Publish(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        FETCHED.add(self.path)
        body = PUBLISHED.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("content-type", "application/jwk-set+json")
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


def publish():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publish)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(DIRECTORY / "issuer.pem", DIRECTORY / "issuer.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


# --- It verifies our tokens ---------------------------------------------------------------------------


def verify_ours():
    keys = jwt.PyJWKClient(WORLD["keys"], timeout=20)

    def outcome(token, **changed):
        rules = {"audience": WORLD["audience"], "issuer": WORLD["issuer"], "typ": "at+jwt", **changed}
        typ = rules.pop("typ")
        try:
            key = keys.get_signing_key_from_jwt(token)
            decoded = jwt.decode_complete(
                token,
                key,
                algorithms=["ES256", "EdDSA"],
                options={"require": ["exp", "iat", "sub", "jti"]},
                **rules,
            )
        except jwt.PyJWTError:
            return "refused"
        # PyJWT leaves the type to its caller (RFC 8725 §3.11).
        if decoded["header"]["typ"] != typ:
            return "refused"
        assert decoded["payload"]["sub"] == "spiffe://example.org/billing"
        assert decoded["payload"]["cnf"] == {"x5t#S256": thumbprint("billing")}
        return "accepted"

    case("ours: of the older key", outcome(TOKENS["older"]))
    case("ours: of the newer key", outcome(TOKENS["newer"]))
    case("ours: by the name of Ed25519", outcome(TOKENS["newest"]))
    case("ours: expired", outcome(TOKENS["expired"]))
    case("ours: of another audience", outcome(TOKENS["audience"]))
    case("ours: of another issuer", outcome(TOKENS["newer"], issuer="https://other.example"))
    case("ours: of another type", outcome(TOKENS["newer"], typ="secevent+jwt"))
    case("ours: altered", outcome(altered(TOKENS["newer"])))


def altered(token):
    """The same, but for one claim."""
    header, claims, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    claims["exp"] += 1
    return ".".join([header, b64(json.dumps(claims).encode()), signature])


def thumbprint(file):
    """`x5t#S256` (RFC 8705 §3.1) of the first certificate of the file."""
    text = (DIRECTORY / f"{file}.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    return b64(hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[: text.index(end)] + end)).digest())


# --- It calls our server ------------------------------------------------------------------------------


def call(token=None, file="billing", path="/orders/17", root="root.pem", host=None, scheme="Bearer"):
    session = requests.Session()
    session.trust_env = False
    if file:
        session.cert = (str(DIRECTORY / f"{file}.pem"), str(DIRECTORY / f"{file}.key"))
    headers = {"Authorization": f"{scheme} {token}"} if token else {}
    server = SERVER if host is None else SERVER.replace("127.0.0.1", host)
    with session.get(server + path, headers=headers, verify=str(DIRECTORY / root), timeout=20) as answer:
        if answer.status_code == 200:
            return f"200 {answer.text.strip()}"
        return f"{answer.status_code} {answer.headers.get('www-authenticate', '')}"


def alert(file):
    """In TLS 1.3 the alert may be lost to a reset, so it is looked for more than once."""
    for _ in range(20):
        try:
            return call(TOKENS["newer"], file)
        except requests.exceptions.RequestException as error:
            if found := re.search(r"ALERT_([A-Z_]+)", str(error)):
                return "alert " + found[1].lower().replace("_", " ")
    return "no alert"


def untrusted(**how):
    try:
        return call(TOKENS["newer"], **how)
    except requests.exceptions.SSLError as error:
        return "untrusted" if "CERTIFICATE_VERIFY_FAILED" in str(error) else str(error)


def call_ours():
    newer = TOKENS["newer"]
    case("call: good", call(newer))
    case("call: no token", call())
    case("call: no certificate", alert(None))
    case("call: an expired certificate", alert("expired"))
    case("call: a revoked certificate", alert("revoked"))
    case("call: another authority's certificate", alert("unknown"))
    case("call: another authority's of the same name", alert("stranger"))
    case("call: another machine's certificate", call(newer, "shop"))
    case("call: the same machine's next certificate", call(newer, "again"))
    case("call: an expired token", call(TOKENS["expired"]))
    case("call: a token of another audience", call(TOKENS["audience"]))
    case("call: a token that is not bound", call(TOKENS["unbound"]))
    case("call: a token in the query", call(path=f"/orders/17?access_token={newer}"))
    case("call: Basic", call("YmlsbGluZzpzZWNyZXQ=", scheme="Basic"))
    case("call: what it may not", call(newer, path="/customers"))
    case("call: a server that it does not trust", untrusted(root="stranger-root.pem"))
    case("call: a server of another name", untrusted(host="localhost"))


# --- It issues tokens ---------------------------------------------------------------------------------


def claims(**changed):
    now = int(time.time())
    all_of_them = {
        "iss": WORLD["own_issuer"],
        "sub": "spiffe://example.org/billing",
        "aud": WORLD["audience"],
        "iat": now,
        "exp": now + 300,
        "jti": hashlib.sha256(str(time.time_ns()).encode()).hexdigest(),
        "cnf": {"x5t#S256": thumbprint("billing")},
        **changed,
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def issue(algorithm, kid=None, key=None, headers=None, **changed):
    headers = {"kid": kid or f"py-{algorithm}", "typ": "at+jwt", **(headers or {})}
    return jwt.encode(claims(**changed), key or KEYS[algorithm], algorithm, headers)


def by_hand(header, sign):
    """What the library refuses to make."""
    header = {"kid": "py-ES256", "typ": "at+jwt", **header}
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims()))
    return f"{signed}.{b64(sign(signed.encode()))}"


def keyed_with(secret):
    return by_hand({"alg": "HS256"}, lambda signed: hmac.digest(secret, signed, "sha256"))


def issue_own():
    for algorithm in KEYS:
        case(f"own: {algorithm}", call(issue(algorithm)))
    for name in ["none", "None"]:
        case(f"own: alg {name}", call(by_hand({"alg": name}, lambda _: b"")))
    public = KEYS["ES256"].public_key()
    encoded = {
        "in PEM": (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "in DER": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    }
    for form, how in encoded.items():
        case(f"own: HS256 with the public key {form}", call(keyed_with(public.public_bytes(*how))))
    as_jwk = json.dumps(jwk("ES256", KEYS["ES256"], "py-ES256")).encode()
    case("own: HS256 with the public JWK", call(keyed_with(as_jwk)))
    case("own: RS256 by the key for PS256", call(issue("RS256", "py-PS256", KEYS["PS256"])))
    case("own: an unknown kid", call(issue("ES256", "py-0")))
    case("own: another key's kid", call(issue("ES256", "py-EdDSA")))
    case("own: an attacker's key under a known kid", call(issue("ES256", "py-ES256", ATTACKER)))
    jku = {"jku": f"https://issuer.internal:{PORT}/attacker.json"}
    case("own: an attacker's key by jku", call(issue("ES256", "attacker", ATTACKER, jku)))
    embedded = {"jwk": jwk("ES256", ATTACKER, "attacker")}
    case("own: an attacker's key by jwk", call(issue("ES256", "attacker", ATTACKER, embedded)))
    now = int(time.time())
    case("own: expired", call(issue("ES256", iat=now - 600, exp=now - 60)))
    case("own: not yet valid", call(issue("ES256", nbf=now + 200)))
    case("own: without exp", call(issue("ES256", exp=None)))
    case("own: of the type JWT", call(issue("ES256", headers={"typ": "JWT"})))
    case("own: without a type", call(issue("ES256", headers={"typ": None})))
    case("own: of another audience", call(issue("ES256", aud="spiffe://example.org/customers")))
    case("own: in the name of our issuer", call(issue("ES256", iss=WORLD["issuer"])))
    bound = {"x5t#S256": thumbprint("shop")}
    case("own: bound to another certificate", call(issue("ES256", cnf=bound)))
    case("own: bound to nothing", call(issue("ES256", cnf=None)))
    critical = {"crit": ["unknown"], "unknown": True}
    case("own: with a critical parameter", call(issue("ES256", headers=critical)))
    case("own: altered", call(altered(issue("ES256"))))
    case("own: with its signature cut off", call(issue("ES256").rsplit(".", 1)[0] + "."))
    case("fetched from it", " ".join(sorted(FETCHED)))


PORT = publish()
say(listening=PORT)
SERVER = sys.stdin.readline().strip()
verify_ours()
call_ours()
issue_own()
say(
    versions=f"Python {platform.python_version()}, PyJWT {jwt.__version__}, "
    f"requests {requests.__version__}, {ssl.OPENSSL_VERSION}"
)
