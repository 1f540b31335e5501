//! What is quoted, and what is said when there is nothing to quote.

use super::*;
use crate::domain::Language;
use crate::ports::model::Passage;

fn passage(n: usize, title: &str, text: &str) -> Passage {
    Passage { n, title: title.to_owned(), heading: String::new(), text: text.to_owned() }
}

fn request(language: Language, question: &str, passages: Vec<Passage>) -> Request {
    Request {
        turn_id: "t".to_owned(),
        system: String::new(),
        messages: Vec::new(),
        temperature: None,
        max_tokens: None,
        thinking: None,
        language,
        question: question.to_owned(),
        passages,
    }
}

fn loans() -> Vec<Passage> {
    vec![
        passage(
            1,
            "Vay mua nhà",
            "Ngân hàng thành lập năm 1990. Lãi suất vay mua nhà từ 7,5%/năm, cố định 12 tháng đầu. Trụ sở ở Hà Nội.",
        ),
        passage(2, "Thẻ", "Thẻ tín dụng miễn phí năm đầu. Hạn mức đến 200 triệu đồng."),
        passage(3, "Tiết kiệm", "| Kỳ hạn | Lãi suất |\n|---|---|\n| 6 tháng | 5,1% |\n| 12 tháng | 6,0% |"),
    ]
}

#[test]
fn the_best_sentence_is_quoted_and_cited() {
    let text = answer(&request(Language::VIETNAMESE, "lai suat vay mua nha la bao nhieu?", loans()));
    assert!(text.starts_with("Theo tài liệu:"), "{text}");
    assert!(text.contains("\n\n“Lãi suất vay mua nhà từ 7,5%/năm, cố định 12 tháng đầu.” [1]"), "{text}");
    assert!(!text.contains("1990") && !text.contains("[2]"), "{text}");
}

#[test]
fn a_table_row_is_quoted_with_the_names_of_its_columns() {
    let text = answer(&request(Language::ENGLISH, "Tiết kiệm kỳ hạn 12 tháng", loans()));
    assert_eq!(text, "According to the documents:\n\n“Kỳ hạn: 12 tháng; Lãi suất: 6,0%” [3]");
}

#[test]
fn a_list_comes_with_the_sentence_that_leads_to_it() {
    let list = passage(
        1,
        "Hồ sơ",
        "Giờ mở cửa là 8 giờ. Hồ sơ mở thẻ tín dụng gồm có:\n- CCCD còn hạn;\n- Sao kê lương\n\nPhí 0 đồng.",
    );
    let text = answer(&request(Language::VIETNAMESE, "hồ sơ mở thẻ tín dụng", vec![list]));
    assert!(text.ends_with("gồm có:\n- CCCD còn hạn;\n- Sao kê lương [1]"), "{text}");
}

fn accounts() -> Vec<Passage> {
    let mut foreigners = passage(
        1,
        "Opening an account",
        "Foreign nationals open their account at a branch. It takes about 40 minutes. Please bring:\n\n\
         - your passport, valid for at least 6 more months;\n- a visa or a residence card;\n- a number in your name.\n\n\
         Tourists cannot open an account.\n\nYou can send it in the app under Update documents.",
    );
    foreigners.heading = "Opening an account > Foreign nationals".to_owned();
    let companies = passage(
        2,
        "Business accounts",
        "- Company charter.\n- Passport of the representative.\n\nThe account is open soon.",
    );
    vec![foreigners, companies]
}

#[test]
fn a_list_that_answers_is_quoted_though_the_question_has_none_of_its_words() {
    let text =
        answer(&request(Language::ENGLISH, "Which documents does a foreigner need to open an account?", accounts()));
    let quoted = "Foreign nationals open their account at a branch. It takes about 40 minutes. Please bring:\n\
                  - your passport, valid for at least 6 more months;\n- a visa or a residence card;\n- a number in your name. [1]";
    assert_eq!(text, format!("According to the documents:\n\n{quoted}"));
}

fn lost_card() -> Vec<Passage> {
    let title = "Mất thẻ, thẻ bị đánh cắp và phát hành lại thẻ";
    let mut steps = passage(
        2,
        title,
        "1. Ứng dụng Sen Số: bấm Khóa thẻ.\n2. Gọi tổng đài 1900 0099, phím 1.\n3. Đến chi nhánh gần nhất với căn cước trong giờ làm việc.\n\n\
         Nếu tìm lại được thẻ, bạn tự mở khóa trong ứng dụng. Thẻ khóa quá 30 ngày sẽ bị hủy.",
    );
    steps.heading = format!("{title} > Ba cách khóa thẻ");
    vec![passage(1, title, "Khi bị mất thẻ hoặc thất lạc, việc đầu tiên là khóa thẻ. Khóa thẻ miễn phí."), steps]
}

#[test]
fn steps_are_quoted_from_the_first_to_the_last() {
    let text = answer(&request(Language::VIETNAMESE, "bi mat the thi phai lam gi", lost_card()));
    let steps = "**Ba cách khóa thẻ**\n1. Ứng dụng Sen Số: bấm Khóa thẻ.\n2. Gọi tổng đài 1900 0099, phím 1.\n\
                 3. Đến chi nhánh gần nhất với căn cước trong giờ làm việc. [2]";
    assert!(text.contains("“Khi bị mất thẻ hoặc thất lạc, việc đầu tiên là khóa thẻ.” [1]"), "{text}");
    assert!(text.ends_with(steps), "{text}");
}

#[test]
fn steps_are_never_quoted_in_part() {
    for question in ["chi nhánh gần nhất", "tổng đài phím 1", "căn cước", "mở khóa trong ứng dụng", "thẻ bị hủy"]
    {
        let text = answer(&request(Language::VIETNAMESE, question, lost_card()));
        let steps = (1..=3).filter(|step| text.contains(&format!("\n{step}. "))).count();
        assert!(steps == 0 || steps == 3, "{question}: {text}");
        assert!(text.lines().all(|line| line.trim() != "[2]"), "{question}: {text}");
    }
}

#[test]
fn of_more_steps_than_can_be_quoted_one_is_quoted_without_its_number() {
    let steps: Vec<String> =
        (1..=20).map(|n| format!("{n}. Bước làm hồ sơ số {n} của khách hàng tại quầy giao dịch.")).collect();
    let long = passage(1, "Điều khoản", &format!("{}\n21. Biên lai được giữ ba năm.", steps.join("\n")));
    let text = answer(&request(Language::VIETNAMESE, "biên lai giữ mấy năm", vec![long]));
    assert_eq!(text, "Theo tài liệu:\n\n“Biên lai được giữ ba năm.” [1]");
}

fn rates() -> Vec<Passage> {
    let row = |product: &str, rate: &str| {
        format!("Sản phẩm: {product}; Lãi suất ưu đãi cố định: {rate}/năm; Sau ưu đãi: 8,4%/năm")
    };
    let rows = [
        row("Vay mua nhà, cố định 24 tháng", "7,4%"),
        row("Vay mua nhà, cố định 12 tháng", "6,8%"),
        row("Vay mua nhà, cố định 36 tháng", "8,1%"),
        row("Vay mua ô tô, cố định 12 tháng", "7,5%"),
        row("Vay tín chấp", "14,5%"),
    ];
    vec![
        passage(
            1,
            "Biểu lãi suất tiền gửi và cho vay",
            &format!("{}\n\nLãi suất thả nổi đổi mỗi quý.", rows.join("\n")),
        ),
        passage(2, "Vay mua ô tô", "- Cố định 12 tháng đầu: 7,5%/năm.\n- Cố định 24 tháng đầu: 8,3%/năm."),
    ]
}

#[test]
fn only_the_row_that_fits_the_question_is_quoted() {
    let text = answer(&request(Language::VIETNAMESE, "Lãi suất vay mua nhà cố định 12 tháng là bao nhiêu?", rates()));
    let row = "Sản phẩm: Vay mua nhà, cố định 12 tháng; Lãi suất ưu đãi cố định: 6,8%/năm; Sau ưu đãi: 8,4%/năm";
    assert_eq!(text, format!("Theo tài liệu:\n\n“{row}” [1]"));
}

#[test]
fn rows_that_fit_alike_are_quoted_one_per_line_and_no_more_than_three() {
    let text = answer(&request(Language::VIETNAMESE, "lãi suất vay mua nhà", rates()));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("- Sản phẩm: Vay mua nhà, ")).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(!text.contains("tín chấp") && rows[2].ends_with("8,4%/năm [1]"), "{text}");
    let text = answer(&request(Language::VIETNAMESE, "bảng lãi suất ưu đãi", rates()));
    assert_eq!(text.lines().filter(|line| line.starts_with("- Sản phẩm: ")).count(), 3, "{text}");
}

#[test]
fn every_quote_ends_in_its_citation() {
    for (question, passages) in [("khóa thẻ làm sao", lost_card()), ("lãi suất", rates()), ("open account", accounts())]
    {
        let text = answer(&request(Language::VIETNAMESE, question, passages));
        let quotes: Vec<&str> = text.split("\n\n").skip(1).collect();
        assert!(!quotes.is_empty());
        assert!(quotes.iter().all(|quote| quote.ends_with(" [1]") || quote.ends_with(" [2]")), "{text}");
    }
}

#[test]
fn passages_found_by_meaning_alone_are_quoted_from_the_first() {
    let text = answer(&request(Language::ENGLISH, "refund policy", loans()));
    assert!(text.contains("1990") && text.contains("[1]") && !text.contains("[2]"), "{text}");
}

#[test]
fn the_answer_is_bounded() {
    let passages: Vec<Passage> = (1..=6)
        .map(|n| passage(n, "x", &format!("loan number {n} costs money every single month. ").repeat(40)))
        .collect();
    let text = answer(&request(Language::ENGLISH, "loan costs", passages));
    assert!(text.chars().count() < BUDGET_WITH_PHRASES, "{} characters", text.chars().count());
    let endless = passage(1, "x", &"loan ".repeat(2_000));
    let text = answer(&request(Language::ENGLISH, "loan", vec![endless]));
    assert!(text.contains('…') && text.chars().count() < BUDGET_WITH_PHRASES);
}

const BUDGET_WITH_PHRASES: usize = 900;

#[test]
fn without_passages_it_says_so() {
    assert!(answer(&request(Language::VIETNAMESE, "lãi suất?", Vec::new())).starts_with("Xin lỗi"));
    assert!(answer(&request(Language::ENGLISH, "rates?", Vec::new())).starts_with("Sorry"));
    assert!(
        answer(&request(Language::ENGLISH, "rates?", vec![passage(1, "Empty", " \n# Title\n")])).starts_with("Sorry")
    );
    assert!(answer(&request(Language::VIETNAMESE, "Xin chào!", Vec::new())).starts_with("Xin chào"));
    assert!(answer(&request(Language::ENGLISH, "Thank you", Vec::new())).starts_with("You are welcome"));
}

#[tokio::test]
async fn it_streams_a_few_words_at_a_time_and_ends() {
    let model = ExtractiveModel::new();
    let request = request(Language::VIETNAMESE, "lãi suất vay mua nhà", loans());
    let chunks: Vec<Chunk> = model.stream(&request).await.unwrap().map(Result::unwrap).collect().await;
    let pieces: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::Content(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(pieces.concat(), answer(&request));
    assert!(pieces.len() > 2);
    let words = |piece: &str| piece.split_whitespace().count();
    assert!(pieces.iter().all(|piece| (1..=6).contains(&words(piece))), "{pieces:?}");
    assert_eq!(chunks.last(), Some(&Chunk::Finish(FinishReason::Stop)));
}
