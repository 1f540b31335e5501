//! Character references: `&agrave;`, `&#224;` and `&#xE0;` for `à`.

use std::borrow::Cow;
use std::collections::HashMap;

/// The longest reference, `&CounterClockwiseContourIntegral;`, has 33 bytes.
const MAX_BYTES: usize = 33;

/// Decodes references and remembers the names that it has met.
#[derive(Debug, Default)]
pub(super) struct References {
    named: HashMap<String, String>,
}

impl References {
    /// The text with all references replaced.
    pub(super) fn decode<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if !text.contains('&') {
            return Cow::Borrowed(text);
        }
        let mut decoded = String::with_capacity(text.len());
        let mut parts = text.split('&');
        decoded.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let letters =
                part.bytes().take(MAX_BYTES).take_while(|it| it.is_ascii_alphanumeric() || *it == b'#').count();
            let end = letters + usize::from(part.as_bytes().get(letters) == Some(&b';'));
            let (reference, rest) = part.split_at_checked(end).unwrap_or(("", part));
            self.push(reference, &mut decoded);
            decoded.push_str(rest);
        }
        Cow::Owned(decoded)
    }

    fn push(&mut self, reference: &str, decoded: &mut String) {
        if let Some(character) = numeric(reference) {
            decoded.push(character);
            return;
        }
        match reference {
            "" | ";" => {
                decoded.push('&');
                decoded.push_str(reference);
            }
            "amp;" => decoded.push('&'),
            "lt;" => decoded.push('<'),
            "gt;" => decoded.push('>'),
            "quot;" => decoded.push('"'),
            "nbsp;" => decoded.push('\u{A0}'),
            _ => match self.named.get(reference) {
                Some(known) => decoded.push_str(known),
                None => {
                    let text = parsed(reference);
                    decoded.push_str(&text);
                    self.named.insert(reference.to_owned(), text);
                }
            },
        }
    }
}

/// What the HTML parser makes of a reference: it knows the 2,231 names, those that need no semicolon, and the
/// numbers that stand for something else.
fn parsed(reference: &str) -> String {
    let fragment = scraper::Html::parse_fragment(&format!("&{reference}"));
    fragment.root_element().text().collect()
}

/// An ordinary number; nothing for those that the standard gives another meaning.
fn numeric(reference: &str) -> Option<char> {
    let digits = reference.strip_prefix('#')?.strip_suffix(';')?;
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code).filter(|it| !it.is_control() && code > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded() {
        let mut references = References::default();
        let mut decode = |text| references.decode(text).into_owned();
        assert_eq!(decode("l&atilde;i su&#7845;t &amp; v&#xF2;ng l&atilde;i"), "lãi suất & vòng lãi");
        assert_eq!(decode("&lt;b&gt; &quot;&apos;&euro;&copy 2026 &copy2026 &hellip;"), "<b> \"'€© 2026 ©2026 …");
        assert_eq!(decode("A&B & C &; &unknown; AT&T &#x110000; &#150;"), "A&B & C &; &unknown; AT&T \u{FFFD} –");
        assert_eq!(decode("&CounterClockwiseContourIntegral;&notit;"), "∳¬it;");
        assert_eq!(decode("&é&&amp"), "&é&&");
    }
}
