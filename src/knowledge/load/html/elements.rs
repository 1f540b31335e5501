//! What the elements of HTML mean for the text in them.

use super::scan::StartTag;

/// Elements whose text is apart from the text before and after them.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "button",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "legend",
    "li",
    "listing",
    "main",
    "menu",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "search",
    "section",
    "summary",
    "table",
    "ul",
    "xmp",
];

/// Elements that hold no text of the page, or text that is on every page of a site.
const SKIPPED: &[&str] = &[
    "annotation",
    "annotation-xml",
    "aside",
    "audio",
    "canvas",
    "datalist",
    "footer",
    "iframe",
    "nav",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "video",
];

/// Elements that are needed to find out what others mean, even where they are not read.
const STRUCTURAL: &[&str] = &["caption", "dl", "ol", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"];

/// Whether text before and after the start or end of an element is apart.
pub(super) fn is_block(name: &str) -> bool {
    BLOCKS.binary_search(&name).is_ok()
}

/// Whether an element says what is a list and what is a table.
pub(super) fn is_structural(name: &str) -> bool {
    STRUCTURAL.binary_search(&name).is_ok()
}

/// Whether an element and all in it is no part of the text.
pub(super) fn is_skipped(tag: &StartTag<'_>) -> bool {
    // Scripts often hide a whole page until it is complete.
    if matches!(&*tag.name, "html" | "body") {
        return false;
    }
    let is = |name, wanted: &str| tag.attribute(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted));
    SKIPPED.binary_search(&&*tag.name).is_ok()
        || (tag.attribute("hidden").is_some() && !is("hidden", "until-found"))
        || is("aria-hidden", "true")
        || tag.attribute("style").is_some_and(hides)
        || (tag.name == "dialog" && tag.attribute("open").is_none())
        || ["navigation", "contentinfo", "complementary"].into_iter().any(|role| is("role", role))
}

fn hides(style: &str) -> bool {
    let style: String = style.chars().filter(|it| !it.is_whitespace()).flat_map(char::to_lowercase).collect();
    style.split(';').any(|rule| rule.starts_with("display:none") || rule.starts_with("visibility:hidden"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_for_the_search() {
        for names in [BLOCKS, SKIPPED, STRUCTURAL] {
            assert!(names.is_sorted());
        }
    }
}
