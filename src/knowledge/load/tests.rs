//! Choosing loaders, limits, and documents made to be slow.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[test]
fn loaders_are_found_by_name_and_by_media_type() {
    let loaders = Loaders::default();
    for (path, media_type) in [
        ("a/b.TXT", "text/plain"),
        ("b.md", "text/markdown; charset=utf-8"),
        ("c.tar.HTML", "TEXT/HTML ;charset=utf-8"),
        ("d.htm", "application/xhtml+xml"),
    ] {
        let by_path = loaders.for_path(Path::new(path)).unwrap();
        let by_type = loaders.for_media_type(media_type).unwrap();
        assert_eq!(by_path.extensions(), by_type.extensions(), "{path} {media_type}");
    }
}

#[test]
fn unknown_formats_are_named_with_what_is_supported() {
    let loaders = Loaders::default();
    let error = loaders.for_path(Path::new("report.PDF")).unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { extension, supported } if extension == "pdf" && supported.contains(&"md"))
    );
    assert!(error.to_string().starts_with("no loader for .pdf files; supported are txt"), "{error}");
    let error = loaders.for_path(Path::new("Makefile")).unwrap_err();
    assert!(error.to_string().starts_with("no loader for files without an extension"), "{error}");
    let error = loaders.for_media_type("application/pdf").unwrap_err();
    assert!(error.to_string().contains("text/html"), "{error}");
}

#[test]
fn documents_over_the_limit_are_refused_before_they_are_read() {
    let loaders = Loaders::default().with_limit(4);
    let path = Path::new("a.txt");
    assert!(loaders.load_path(path, b"abcd").is_ok());
    assert_eq!(loaders.load_path(path, b"ab\0de"), Err(Error::TooLarge { bytes: 5, limit: 4 }));
    assert_eq!(loaders.load_media_type("text/html", b"<p>ab"), Err(Error::TooLarge { bytes: 5, limit: 4 }));
    assert_eq!(loaders.check_size(4), Ok(()));
}

#[test]
fn a_format_can_be_added() {
    #[derive(Debug)]
    struct Shouting;
    impl Loader for Shouting {
        fn media_types(&self) -> &'static [&'static str] {
            &["text/plain"]
        }
        fn extensions(&self) -> &'static [&'static str] {
            &["loud", "txt"]
        }
        fn load(&self, _: &[u8]) -> Result<Loaded, Error> {
            Ok(Loaded { title: Some("LOUD".into()), ..Loaded::default() })
        }
    }
    let loaders = Loaders::default().with(Shouting);
    for path in ["a.loud", "a.txt"] {
        assert_eq!(loaders.load_path(Path::new(path), b"a").unwrap().title.as_deref(), Some("LOUD"));
    }
    assert!(loaders.load_path(Path::new("a.text"), b"a").unwrap().title.is_none());
}

/// Documents whose reading takes minutes when anything in it grows with the square of their length.
fn slow_documents() -> Vec<(&'static str, &'static str, String)> {
    const N: usize = 50_000;
    let numbered = |form: fn(usize) -> String| (0..N).map(form).collect::<String>();
    vec![
        ("a million lines", "a.txt", "dòng\n".repeat(1_000_000)),
        ("one long line", "a.txt", "từ ".repeat(N * 10)),
        ("nested divs", "a.html", "<div>".repeat(N) + "x" + &"</div>".repeat(N)),
        ("nested divs, other ends", "a.html", "<div>".repeat(N) + &"</section></p></span>".repeat(N) + "x"),
        (
            "sections outside of a cell",
            "a.html",
            format!("<section><table><td>{}{}x", "<div>".repeat(N), "</section>".repeat(N)),
        ),
        ("nested lists", "a.html", "<ul><li>x".repeat(N)),
        ("items without ends", "a.html", "<ul>".to_owned() + &"<li><p>x".repeat(N)),
        ("nested tables", "a.html", "<table><tr><td>x".repeat(N)),
        ("nested quotations", "a.html", "<blockquote>x".repeat(N)),
        ("nested hidden elements", "a.html", "x".to_owned() + &"<span hidden>".repeat(N)),
        ("many attributes", "a.html", format!("<p {}>x", numbered(|it| format!("a{it}=1 ")))),
        ("many fonts", "a.html", numbered(|it| format!("<font size={it}>")) + &"<p>x".repeat(N)),
        ("many references", "a.html", numbered(|it| format!("&#{it};&x{it};&amp"))),
        ("open comments", "a.html", "x".to_owned() + &"<!-- --!".repeat(N)),
        ("open tags", "a.html", "x".to_owned() + &"<a b='".repeat(N)),
        ("open scripts", "a.html", "x".to_owned() + &"<script></scrip".repeat(N)),
        ("spanning cells", "a.html", format!("<table>{}", "<tr><td rowspan=9999 colspan=9999>abc".repeat(N))),
        ("wide headers", "a.html", format!("<table><tr>{}<tr><td>x", "<th colspan=9999>abc".repeat(N))),
        ("long headings", "a.html", format!("<h1>{}</h1>{}", "x".repeat(N), "<h2>y</h2><p>z".repeat(N))),
        ("nested quotations", "a.md", ">".repeat(N) + "x\ny\n"),
        ("nested quotations on lines", "a.md", (1..400).map(|it| ">".repeat(it) + "x\n").collect()),
        ("nested quotations before lines", "a.md", ">".repeat(N) + "x\n" + &"y\n".repeat(N)),
        ("nested lists", "a.md", "- ".repeat(N) + "x\n"),
        ("nested lists before lines", "a.md", "- ".repeat(N) + "x\n" + &"y\n".repeat(N)),
        ("nested lists on lines", "a.md", (0..400).map(|it| " ".repeat(2 * it) + "- x\n").collect()),
        ("open brackets", "a.md", "[".repeat(N) + "x"),
        ("open links", "a.md", "[a](".repeat(N)),
        ("open emphasis", "a.md", "*a_ ".repeat(N)),
        ("backticks", "a.md", (0..500).map(|it| "`".repeat(it) + " ").collect()),
        ("wide tables", "a.md", format!("{}\n{}\n{}", "|a".repeat(2_000), "|-".repeat(2_000), "|b\n".repeat(20_000))),
        ("references", "a.md", numbered(|it| format!("[{it}]: /u\n")) + &"[1]".repeat(N)),
        ("front matter without an end", "a.md", "---\n".to_owned() + &"a: b\n".repeat(N)),
        ("combining marks", "a.md", "a".to_owned() + &"\u{301}".repeat(N)),
        ("html in markdown", "a.md", "<div>\n\n".repeat(N) + "x"),
    ]
}

#[test]
fn documents_made_to_be_slow_are_read_in_time() {
    let loaders = Loaders::default();
    for (name, path, source) in slow_documents() {
        let start = Instant::now();
        let loaded = loaders.load_path(Path::new(path), source.as_bytes());
        let took = start.elapsed();
        assert!(loaded.is_ok(), "{name} ({path}): {loaded:?}");
        let size: usize = loaded.unwrap().blocks().map(|block| block.text.len()).sum();
        assert!(size < 40 * source.len() + 1000, "{name} ({path}): {} bytes became {size}", source.len());
        // Unoptimised, on a busy machine, each takes about a second at most; quadratic work takes minutes.
        assert!(took < Duration::from_secs(20), "{name} ({path}): {took:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for path in ["a.txt", "a.md", "a.html"] {
            if let Ok(loaded) = Loaders::default().load_path(Path::new(path), &bytes) {
                prop_assert!(loaded.blocks().count() > 0);
            }
        }
    }

    #[test]
    fn any_markup_gives_tidy_blocks(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "<p>", "</p>", "<div>", "</div>", "<ul>", "<li>", "</ul>", "<ol start=3>", "<table>", "<tr>", "<td>",
                    "<th rowspan=2>", "</tr>", "</table>", "<thead>", "<caption>", "<h1>", "</h1>", "<h3>", "<pre>", "</pre>",
                    "<blockquote>", "</blockquote>", "<nav>", "</nav>", "<span hidden>", "</span>", "<main>", "</main>",
                    "<article>", "</article>", "<dl>", "<dt>", "<dd>", "</dl>", "<svg>", "</svg>", "<title>", "</title>", "<!--", "-->",
                    "<br>", "<a>", "</a>", "&amp;", "&#224;", "\n\n", "# ", "\n## ", "- ", "\n1. ", "> ", "|a|b|\n|-|-|\n|c|d|\n",
                    "```\n", "    ", "`", "**", "[x](y)", "---\n", " ",
                ]).prop_map(str::to_owned),
                "[a-zàđế\u{301}\u{303}😀]{1,6}",
            ],
            0..40,
        )
    ) {
        let source = pieces.concat();
        for path in ["a.md", "a.html", "a.txt"] {
            let Ok(loaded) = Loaders::default().load_path(Path::new(path), source.as_bytes()) else { continue };
            prop_assert!(!loaded.sections.is_empty());
            for section in &loaded.sections {
                prop_assert!(!section.blocks.is_empty());
                for heading in &section.headings {
                    prop_assert!(!heading.trim().is_empty() && !heading.contains('\n'));
                }
                for block in &section.blocks {
                    prop_assert!(!block.text.trim().is_empty());
                    prop_assert!(unicode_normalization::is_nfc(&block.text), "{:?}", block.text);
                    if block.kind != BlockKind::Code && block.kind != BlockKind::List {
                        prop_assert!(!block.text.contains("  ") && block.text == block.text.trim(), "{:?}", block.text);
                    }
                }
            }
        }
    }
}
