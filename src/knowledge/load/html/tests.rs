//! What HTML becomes.

use super::*;

fn load(source: &str) -> Loaded {
    Html.load(source.as_bytes()).unwrap()
}

/// One line per block: the headings, the kind and the text.
fn outline(source: &str) -> String {
    let mut lines = String::new();
    for section in load(source).sections {
        for block in section.blocks {
            lines += &format!("{}|{:?}|{}\n", section.headings.join(">"), block.kind, block.text.replace('\n', "⏎"));
        }
    }
    lines
}

#[test]
fn a_whole_page() {
    let source = r#"<!DOCTYPE html><HTML lang="vi-VN"><head><meta charset="utf-8"><title>Vay &amp; g&#7917;i
        | ABC</title><link rel="alternate canonical" href="https://abc.example/vay?a=1&amp;b=2"><meta property="og:url" content="https://other.example">
        <style>p{}</style><script>if (a<b) document.write("<p>no</p>")</script></head>
        <body><header><nav><a href=/>Home</a></nav></header><h1>Vay mua nh&agrave;</h1><p>L&atilde;i suất <b>6</b>%<br>mỗi năm</p>
        <aside>no</aside><h2>Hồ sơ</h2><div>giấy tờ<div>bản sao</div>khác</div><footer>no</footer></body></html>"#;
    let loaded = load(source);
    assert_eq!(loaded.title.as_deref(), Some("Vay & gửi | ABC"));
    assert_eq!(loaded.url.as_deref(), Some("https://abc.example/vay?a=1&b=2"));
    assert_eq!(loaded.language.as_deref(), Some("vi"));
    assert_eq!(
        outline(source),
        "Vay mua nhà|Paragraph|Lãi suất 6%⏎mỗi năm\nVay mua nhà>Hồ sơ|Paragraph|giấy tờ\nVay mua nhà>Hồ sơ|Paragraph|bản sao\nVay mua nhà>Hồ sơ|Paragraph|khác\n"
    );
}

#[test]
fn hidden_parts_are_skipped_to_their_end() {
    for hidden in [
        "<div hidden>no<div>no</div>no</div>",
        "<span style='color:red; DISPLAY : none'>no<span>no</span>no<br></span>",
        "<p aria-hidden=true>no",
        "<template><p>no</p></template>",
        "<noscript>no</noscript>",
        "<svg><title>no</title><text>no</text><path/></svg>",
        "<div role=navigation>no</div>",
        "<select><option>no<option>no</select>",
        "<ul><li hidden>no<li hidden>no</ul>",
        "<textarea>no</textarea>",
        "<dialog>no</dialog>",
        "<table><tr hidden><td>no<tr hidden><th>no</table>",
    ] {
        assert_eq!(outline(&format!("<p>a</p>{hidden}<p>b</p>")), "|Paragraph|a\n|Paragraph|b\n", "{hidden}");
    }
    assert_eq!(outline("<body style='display:none'><div hidden=until-found>a</div>"), "|Paragraph|a\n");
}

#[test]
fn the_main_part_is_preferred() {
    assert_eq!(outline("<p>menu</p><main><h1>A</h1><p>b</p></main><p>end</p>"), "A|Paragraph|b\n");
    assert_eq!(outline("<p>menu</p><div role=main><div>b</div>c</div><p>end</p>"), "|Paragraph|b\n|Paragraph|c\n");
    assert_eq!(outline("<p>menu</p><article><p>a long article</p></article>"), "|Paragraph|a long article\n");
    assert_eq!(
        outline("<p>a long page about something</p><article>teaser</article>"),
        "|Paragraph|a long page about something\n|Paragraph|teaser\n"
    );
    // A main part with nothing in it is filled by a script: the rest is all there is.
    assert_eq!(outline("<p>a</p><main><nav>no</nav></main>"), "|Paragraph|a\n");
    assert_eq!(outline("<table><tr><td>menu<td><main><p>b</main></table>"), "|Paragraph|b\n");
}

#[test]
fn tables_are_rows_with_headers() {
    assert_eq!(
        outline(
            "<table><caption>Phí</caption><thead><tr><td>Loại<td>Phí</thead><tr><td>Thẻ<td><p>1</p><p>2</p><tr><td>Vay<td><ul><li>3<li>4</ul></table>end"
        ),
        "|Paragraph|Phí\n|Table|Loại: Thẻ; Phí: 1 2⏎Loại: Vay; Phí: 3 4\n|Paragraph|end\n"
    );
    assert_eq!(
        outline(
            "<table><tr><th>A</th><th>B</th></tr><tbody><tr><th>x</th><td>1</td></tr></tbody><tbody><tr><th>y</th><td>2</td></tr></table>"
        ),
        "|Table|A: x; B: 1⏎A: y; B: 2\n"
    );
    assert_eq!(outline("<table><tr><td>a<td>b<tr><td>c</table>"), "|Table|a; b⏎c\n");
}

#[test]
fn tables_that_arrange_a_page_are_no_tables() {
    assert_eq!(
        outline("<table><tr><td>menu<td>x<h1>A</h1>text<table><tr><th>K<tr><td>v</table>more</table>end"),
        "|Paragraph|menu\n|Paragraph|x\nA|Paragraph|text\nA|Table|K: v\nA|Paragraph|more\nA|Paragraph|end\n"
    );
    assert_eq!(outline("<table role=presentation><tr><td>a<td>b</table>"), "|Paragraph|a\n|Paragraph|b\n");
}

#[test]
fn lists_keep_their_lines() {
    assert_eq!(
        outline("<ul><li>a<ol start=3><li>b</li><li><p>c</p><p>d</p></li></ol><li>e</ul>f"),
        "|List|- a⏎  3. b⏎  4. c⏎    d⏎- e\n|Paragraph|f\n"
    );
    assert_eq!(
        outline("<dl><dt>Term<dd>one<dd>two<dt>Other<dd>three</dl>"),
        "|List|- Term: one⏎  two⏎- Other: three\n"
    );
}

#[test]
fn an_item_in_a_cell_does_not_end_the_list_around_the_table() {
    assert_eq!(
        outline("<ul><li>a<table><tr><td>x<li>y<td>z</table>b<li>c</ul>"),
        "|List|- a\n|Table|x y; z\n|List|  b⏎- c\n"
    );
}

#[test]
fn code_and_quotations() {
    assert_eq!(
        outline("<pre>\n  a &lt; b\n    c\n</pre><blockquote><p>q</blockquote>x"),
        "|Code|  a < b⏎    c\n|Quote|q\n|Paragraph|x\n"
    );
}

#[test]
fn no_text_is_glued_together() {
    assert_eq!(
        outline("<a>one</a><a>two</a> in<b>side</b> <button>three</button>four"),
        "|Paragraph|one two inside\n|Paragraph|three\n|Paragraph|four\n"
    );
    assert_eq!(
        outline("a<p>b<p>c<div>d</div>e</p>f<td>g<td>h"),
        ["a", "b", "c", "d", "e", "f", "g", "h"].map(|it| format!("|Paragraph|{it}\n")).concat()
    );
    assert_eq!(outline("<h2><button>Question</button><span>?</span></h2>x"), "Question ?|Paragraph|x\n");
}

#[test]
fn broken_markup_is_read_on() {
    assert_eq!(outline("<h1>A<h2>B<p>c</div></section></span>d"), "A>B|Paragraph|c\nA>B|Paragraph|d\n");
    assert_eq!(
        outline("<div>a</section>b<i>c</div>d &lt;e&gt; 1 < 2"),
        "|Paragraph|a\n|Paragraph|bc\n|Paragraph|d <e> 1 < 2\n"
    );
}

#[test]
fn nothing_readable_is_an_error() {
    for source in ["", "<title>x</title>", "<script>x</script>", "<p>&nbsp;</p>", "<nav>x"] {
        assert_eq!(Html.load(source.as_bytes()), Err(Error::Empty), "{source:?}");
    }
}
