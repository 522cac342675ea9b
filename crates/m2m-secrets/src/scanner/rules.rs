//! Rules for the programs that look for secrets in repositories and logs.

use crate::api_key::{CHECKSUM_CHARACTERS, KEY_ID_BYTES, SECRET_CHARACTERS};
use crate::{KeyFormat, KeyScanner};

impl KeyScanner {
    /// Rules for gitleaks, to be put into its `gitleaks.toml`.
    ///
    /// An expression cannot compute a checksum, so what it finds may be made up: ask
    /// [`KeyScanner::recognise`].
    pub fn gitleaks_rules(&self) -> String {
        let rules = self.formats().iter().map(|format| {
            let (name, expression) = (format.rule_name(), format.regular_expression());
            let (prefix, environment, head) =
                (format.prefix(), format.environment(), format.head());
            format!(
                "[[rules]]\n\
                 id = \"{name}\"\n\
                 description = \"API key of {prefix} for {environment}\"\n\
                 regex = '''{expression}'''\n\
                 keywords = [\"{head}\"]\n"
            )
        });
        rules.collect::<Vec<String>>().join("\n")
    }

    /// Custom detectors for trufflehog, to be put into the file that its `--config` names.
    ///
    /// As with [`Self::gitleaks_rules`], what they find may be made up.
    pub fn trufflehog_detectors(&self) -> String {
        let mut text = String::from("detectors:\n");
        for format in self.formats() {
            let (name, expression) = (format.rule_name(), format.regular_expression());
            let head = format.head();
            text.push_str(&format!(
                "  - name: {name}\n    \
                     keywords:\n      \
                       - {head}\n    \
                     regex:\n      \
                       key: '{expression}'\n"
            ));
        }
        text
    }
}

impl KeyFormat {
    /// A regular expression for keys of this format, in the common ground of RE2 and PCRE: GitHub's
    /// custom patterns take it too.
    ///
    /// It asks for no word boundary in front, so that a key is found behind `\n` as it stands in JSON.
    pub fn regular_expression(&self) -> String {
        // Labels have letters and digits only, so nothing needs escaping.
        format!(
            "{}[0-9A-Za-z]{{{KEY_ID_BYTES}}}_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}_[0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}}\\b",
            self.head()
        )
    }

    fn rule_name(&self) -> String {
        format!("{}-{}-api-key", self.prefix(), self.environment())
    }
}
