//! Where a field of a form is (RFC 7578): the form itself is passed on, and so not taken apart.

use std::ops::Range;

/// Most fields of a form.
const FIELDS: usize = 128;
/// Most bytes of a field's head.
const HEAD_BYTES: usize = 8 * 1024;

/// What is wrong with a form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    /// It does not begin with its boundary.
    #[error("the form does not begin with its boundary")]
    NoBoundary,
    /// A field's head has no end, or none that is read.
    #[error("a field of the form has no head, or one of more than {HEAD_BYTES} bytes")]
    Head,
    /// Its last boundary is missing.
    #[error("the form has no end")]
    NoEnd,
    /// More fields than a form can have.
    #[error("the form has more than {FIELDS} fields")]
    TooManyFields,
    /// The field is there twice: who reads the form would choose one of them.
    #[error("the form has the field {0:?} twice")]
    Twice(String),
}

/// The boundary that a content type names, if it is that of a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameter(parts, "boundary")?;
    let is_allowed = |c: char| c.is_ascii_graphic() || c == ' ';
    ((1..=70).contains(&value.len()) && value.chars().all(is_allowed)).then_some(value)
}

/// The place of a field's value in a form's bytes, if the form has the field.
///
/// # Errors
/// What is wrong with the form.
pub(super) fn field(bytes: &[u8], boundary: &str, name: &str) -> Result<Option<Range<usize>>, Error> {
    let mark = [b"\r\n--", boundary.as_bytes()].concat();
    let first = mark.get(2..).unwrap_or_default();
    let mut at =
        if bytes.starts_with(first) { first.len() } else { end_of(bytes, 0, &mark).ok_or(Error::NoBoundary)? };
    let mut found = None;
    for _ in 0..FIELDS {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(found);
        }
        let limit = (at + HEAD_BYTES).min(bytes.len());
        let head = bytes.get(..limit).and_then(|bytes| end_of(bytes, at, b"\r\n\r\n")).ok_or(Error::Head)?;
        let next = end_of(bytes, head, &mark).ok_or(Error::NoEnd)?;
        let is_it = bytes.get(at..head).is_some_and(|head| is_named(&String::from_utf8_lossy(head), name));
        if is_it && found.replace(head..next - mark.len()).is_some() {
            return Err(Error::Twice(name.to_owned()));
        }
        at = next;
    }
    Err(Error::TooManyFields)
}

/// Whether a field's head gives it a name.
fn is_named(head: &str, name: &str) -> bool {
    head.split("\r\n").any(|line| {
        let Some((header, value)) = line.split_once(':') else { return false };
        header.trim().eq_ignore_ascii_case("content-disposition")
            && parameter(value.split(';').skip(1), "name").is_some_and(|found| found == name)
    })
}

/// A parameter's value, without its quotes.
fn parameter<'a>(parts: impl Iterator<Item = &'a str>, name: &str) -> Option<String> {
    let mut pairs = parts.filter_map(|part| part.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Some(bare.to_owned())
}

/// Where the first `what` from a place on ends.
fn end_of(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let (&first, rest) = what.split_first()?;
    let mut at = from;
    loop {
        // Bytes of images are many, and few of them begin what is looked for.
        let step = bytes.get(at..)?.iter().position(|&byte| byte == first)?;
        let after = at + step + 1;
        if bytes.get(after..)?.starts_with(rest) {
            return Some(after + rest.len());
        }
        at = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, value) in fields {
            form.extend_from_slice(
                format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
            );
            form.extend_from_slice(value);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(b"--xyz--\r\n");
        form
    }

    #[test]
    fn boundaries_are_read_with_and_without_quotes() {
        for (content_type, found) in [
            ("multipart/form-data; boundary=xyz", Some("xyz")),
            ("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"x y\"", Some("x y")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json; boundary=x", None),
            ("", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), found, "{content_type}");
        }
    }

    #[test]
    fn a_field_is_found_among_bytes_of_any_kind() {
        let image: &[u8] = b"\x89PNG\r\n--xy\r\n\r\nname=\"model\"\x00\xff";
        for fields in
            [vec![("image", image), ("model", b"mock/m")], vec![("model", b"mock/m".as_slice()), ("image", image)]]
        {
            let form = form(&fields);
            let place = field(&form, "xyz", "model").unwrap().unwrap();
            assert_eq!(&form[place], b"mock/m");
        }
        assert_eq!(field(&form(&[("image", image)]), "xyz", "model"), Ok(None));
        let empty = form(&[("model", b"")]);
        assert_eq!(field(&empty, "xyz", "model").unwrap().map(|place| place.len()), Some(0));
    }

    #[test]
    fn what_is_no_form_is_said_to_be_none() {
        assert_eq!(field(b"", "xyz", "model"), Err(Error::NoBoundary));
        assert_eq!(field(b"--abc\r\n", "xyz", "model"), Err(Error::NoBoundary));
        assert_eq!(field(b"--xyz\r\nContent-Disposition: form-data", "xyz", "model"), Err(Error::Head));
        let whole = form(&[("a", b"1"), ("model", b"m")]);
        assert_eq!(field(&whole[..whole.len() - 12], "xyz", "model"), Err(Error::NoEnd));
        assert_eq!(
            field(&form(&[("model", b"a"), ("model", b"b")]), "xyz", "model"),
            Err(Error::Twice("model".to_owned()))
        );
        let many: Vec<(&str, &[u8])> = (0..200).map(|_| ("a", b"1".as_slice())).collect();
        assert_eq!(field(&form(&many), "xyz", "model"), Err(Error::TooManyFields));
    }
}
