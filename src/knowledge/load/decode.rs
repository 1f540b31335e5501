//! From bytes to text: encodings, byte order marks, and telling text from binary data.

use super::Error;

/// Binary data is assumed when more than one in this many characters is a control character.
const CONTROL_SHARE: usize = 5;

/// Decodes UTF-8, with or without a byte order mark, or UTF-16 with one.
///
/// # Errors
/// [`Error::Binary`] or [`Error::NotUtf8`].
pub(super) fn decode(bytes: &[u8]) -> Result<String, Error> {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => {
            if bytes.contains(&0) {
                return Err(Error::Binary);
            }
            let text = std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { offset: error.valid_up_to() })?;
            text.strip_prefix('\u{FEFF}').unwrap_or(text).to_owned()
        }
    };
    let controls = text.chars().filter(|&it| is_stray_control(it)).count();
    if text.contains('\0') || controls * CONTROL_SHARE > text.chars().count() {
        return Err(Error::Binary);
    }
    Ok(text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Error> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    // The byte order mark takes two bytes.
    let mut offset = 2;
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = decoded.map_err(|_| Error::NotUtf8 { offset })?;
        offset += 2 * character.len_utf16();
        text.push(character);
    }
    if rest.is_empty() { Ok(text) } else { Err(Error::NotUtf8 { offset }) }
}

fn is_stray_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{C}' | '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_are_understood_and_removed() {
        let utf16 = |to_bytes: fn(u16) -> [u8; 2]| {
            std::iter::once(0xFEFF).chain("lãi suất 😀".encode_utf16()).flat_map(to_bytes).collect::<Vec<u8>>()
        };
        assert_eq!(decode("\u{FEFF}lãi suất 😀".as_bytes()).as_deref(), Ok("lãi suất 😀"));
        assert_eq!(decode(&utf16(u16::to_le_bytes)).as_deref(), Ok("lãi suất 😀"));
        assert_eq!(decode(&utf16(u16::to_be_bytes)).as_deref(), Ok("lãi suất 😀"));
    }

    #[test]
    fn the_first_bad_byte_is_named() {
        assert_eq!(decode(b"abc\xFFdef"), Err(Error::NotUtf8 { offset: 3 }));
        // A lone high surrogate after one good character, and half a unit at the end.
        assert_eq!(decode(b"\xFF\xFEa\0\x00\xD8b\0"), Err(Error::NotUtf8 { offset: 4 }));
        assert_eq!(decode(b"\xFF\xFEa\0b"), Err(Error::NotUtf8 { offset: 4 }));
    }

    #[test]
    fn binary_data_is_told_from_text() {
        assert_eq!(decode(b"%PDF-1.7\n\0\xFF\xFF"), Err(Error::Binary));
        assert_eq!(decode(b"\x01\x02\x03\x04ab"), Err(Error::Binary));
        assert_eq!(decode(b"\xFF\xFEa\0\0\0"), Err(Error::Binary));
        assert!(decode(b"a line with one \x07 bell in it").is_ok());
        assert_eq!(decode(b"").as_deref(), Ok(""));
    }
}
