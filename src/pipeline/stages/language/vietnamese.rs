//! The shape of Vietnamese: which letter sequences can be a syllable, signs taken away.
//!
//! Vietnamese is written syllable by syllable, and the syllables are few: an initial, a rhyme, a tone. Without
//! its signs it keeps that shape, which words of other languages rarely have by chance.

/// Whether a word without signs has the shape of a Vietnamese syllable.
///
/// The spelling rules are kept (`k` before e and i, `c` before the rest, and so on), since they reject most
/// of the foreign words that the bare inventory would admit. The initial `p`, which only loanwords have, is left out.
pub(super) fn is_syllable(word: &str) -> bool {
    // `gi` and `qu` swallow a vowel of their own, so they are tried before the plain initials.
    if let Some(rest) = word.strip_prefix("qu") {
        return AFTER_QU.contains(&rest);
    }
    if let Some(rest) = word.strip_prefix("gi") {
        return matches!(rest, "" | "n" | "ng" | "eng" | "et" | "ep") || (!starts_with(rest, "iy") && is_rhyme(rest));
    }
    INITIALS.iter().any(|(initial, before)| {
        word.strip_prefix(initial)
            .is_some_and(|rest| starts_with(rest, before) && is_rhyme(rest) && y_fits(initial, rest))
    })
}

/// A lone `y` follows few initials: `ly`, `my` and `ty` are syllables, `by` and `dy` are not.
fn y_fits(initial: &str, rhyme: &str) -> bool {
    !rhyme.starts_with('y')
        || initial.is_empty()
        || (rhyme == "y" && matches!(initial, "h" | "k" | "l" | "m" | "s" | "t" | "v"))
}

fn starts_with(text: &str, letters: &str) -> bool {
    text.chars().next().is_some_and(|first| letters.contains(first))
}

fn is_rhyme(text: &str) -> bool {
    RHYMES.binary_search(&text).is_ok()
}

/// Each initial with the vowels that its spelling stands before.
const INITIALS: &[(&str, &str)] = &[
    ("", "aeiouy"),
    ("b", "aeiou"),
    ("c", "aou"),
    ("ch", "aeiou"),
    ("d", "aeiou"),
    ("g", "aou"),
    ("gh", "ei"),
    ("h", "aeiouy"),
    ("k", "eiy"),
    ("kh", "aeiou"),
    ("l", "aeiouy"),
    ("m", "aeiouy"),
    ("n", "aeiou"),
    ("ng", "aou"),
    ("ngh", "ei"),
    ("nh", "aeiou"),
    ("ph", "aeiou"),
    ("r", "aeiou"),
    ("s", "aeiouy"),
    ("t", "aeiouy"),
    ("th", "aeiou"),
    ("tr", "aeiou"),
    ("v", "aeiouy"),
    ("x", "aeiou"),
];

/// What may follow `qu`.
const AFTER_QU: &[&str] = &[
    "a", "ac", "ach", "ai", "an", "ang", "anh", "ao", "at", "au", "ay", "e", "en", "eo", "et", "en", "enh", "eu",
    "ich", "it", "oc", "on", "ot", "o", "oi", "y", "yen", "yet", "ynh", "yt", "ang",
];

/// The rhymes, signs taken away, in order for the binary search.
const RHYMES: &[&str] = &[
    "a", "ac", "ach", "ai", "am", "an", "ang", "anh", "ao", "ap", "at", "au", "ay", "e", "ec", "ech", "em", "en",
    "eng", "enh", "eo", "ep", "et", "eu", "i", "ia", "ich", "iec", "iem", "ien", "ieng", "iep", "iet", "ieu", "im",
    "in", "inh", "ip", "it", "iu", "o", "oa", "oac", "oach", "oai", "oam", "oan", "oang", "oanh", "oat", "oay", "oc",
    "oe", "oen", "oeo", "oet", "oi", "om", "on", "ong", "op", "ot", "u", "ua", "uan", "uang", "uat", "uay", "uc", "ue",
    "uech", "ui", "um", "un", "ung", "uo", "uoc", "uoi", "uom", "uon", "uong", "uop", "uot", "uou", "up", "ut", "uu",
    "uy", "uya", "uych", "uyen", "uyet", "uynh", "uyt", "y", "yem", "yen", "yet", "yeu",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::without_accents;

    #[test]
    fn the_rhymes_are_in_order() {
        assert!(RHYMES.is_sorted());
    }

    #[test]
    fn syllables_pass_whatever_their_signs() {
        for word in "lãi suất vay ngân hàng nghiêng giếng gì quyển quốc khuya thuyền trường hỡi đẹp nhỏ xoáy hươu yêu ý uống kỹ giữa \
                     giá quả quý huyện ngoằn người tiếng việt mượn rượu ngoài khoẻ thoát chuyện"
            .split_whitespace()
        {
            assert!(is_syllable(&without_accents(word)), "{word}");
        }
    }

    #[test]
    fn words_of_other_shapes_do_not_pass() {
        for word in "what which where price the1 street gauge kan king game by pen broncos geld haben cuesta gracias faire z w strength \
                     quick yellow fi just"
            .split_whitespace()
        {
            assert!(!is_syllable(word), "{word}");
        }
    }
}
