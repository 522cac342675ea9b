// `Client-Cert` (RFC 9440 §2.2): the DER of the client's certificate, in base64 between colons. PEM is that
// base64 with a line before, a line behind and line breaks.
function der(request) {
    const pem = request.variables.ssl_client_raw_cert;
    return pem ? ":" + pem.replace(/-----[A-Z ]+-----|\s/g, "") + ":" : "";
}

export default { der };
