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
    assert!(text.starts_with("Tài liệu có"), "{text}");
    assert!(text.contains("\n\n“Lãi suất vay mua nhà từ 7,5%/năm, cố định 12 tháng đầu.” [1]"), "{text}");
    assert!(!text.contains("1990") && !text.contains("[2]"), "{text}");
}

#[test]
fn a_table_row_is_quoted_whole_under_its_head() {
    let text = answer(&request(Language::ENGLISH, "Tiết kiệm kỳ hạn 12 tháng", loans()));
    assert!(text.starts_with("The documents say"), "{text}");
    assert!(text.contains("| Kỳ hạn | Lãi suất |\n|---|---|\n"), "{text}");
    assert!(text.contains("| 12 tháng | 6,0% |\n\n[3]"), "{text}");
}

#[test]
fn a_list_comes_with_the_sentence_that_leads_to_it() {
    let list = passage(
        1,
        "Hồ sơ",
        "Giờ mở cửa là 8 giờ. Hồ sơ mở thẻ tín dụng gồm có:\n- CCCD còn hạn\n- Sao kê lương\n\nPhí 0 đồng.",
    );
    let text = answer(&request(Language::VIETNAMESE, "hồ sơ mở thẻ tín dụng", vec![list]));
    assert!(text.contains("gồm có:\n- CCCD còn hạn\n- Sao kê lương\n\n[1]"), "{text}");
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
async fn it_streams_in_words_and_ends() {
    let model = ExtractiveModel::new();
    let request = request(Language::VIETNAMESE, "lãi suất vay mua nhà", loans());
    let chunks: Vec<Chunk> = model.stream(&request).await.unwrap().map(Result::unwrap).collect().await;
    let text: String = chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::Content(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, answer(&request));
    assert!(chunks.len() > 20);
    assert_eq!(chunks.last(), Some(&Chunk::Finish(FinishReason::Stop)));
}
