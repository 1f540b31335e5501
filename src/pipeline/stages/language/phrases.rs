//! Whole messages that chats begin and end with, and the words that many languages borrow.
//!
//! A message of one or two words gives frequencies little to work with; most such messages are one of these.
//! Phrases are written in lower case with their signs, without punctuation; they are found without signs too.

use crate::domain::language::Language;

/// Whole messages, separated by `|`. A phrase may stand under several languages.
pub(super) const PHRASES: &[(Language, &str)] = &[
    (
        Language::ENGLISH,
        "hello there|hello|hi|hi there|hey|hey there|good morning|good afternoon|good evening|good night|good day|\
         greetings|thanks|thank you|thank you very much|thank you so much|thanks a lot|many thanks|thx|cheers|\
         how much|how much is it|how much is this|how much does it cost|price|price please|what price|pricing|yes|yes please|no|\
         no thanks|no thank you|yeah|yep|nope|sure|of course|okay thanks|ok thanks|bye|goodbye|good bye|so long|see you|please|help|\
         help me|please help|sorry|excuse me|why|why not|who|what|where|when|how|how are you|how to buy|which one|really|\
         great|nice|cool|perfect|i see|got it|understood|not yet|maybe|contact|refund|opening hours|address|customer service|\
         i need help|are you there|anyone there|what is this|who are you|what time|how long|how far|how many|tell me more|more|agent",
    ),
    (
        Language::VIETNAMESE,
        "xin chào|chào|chào bạn|chào em|chào anh|chào chị|chào shop|chào ad|alo|a lô|cảm ơn|cám ơn|cảm ơn bạn|cảm ơn nhiều|\
         cảm ơn em|cảm ơn shop|thank shop|tks shop|bao nhiêu|bao nhiêu tiền|giá bao nhiêu|giá sao|giá|giá cả|giá tiền|báo giá|\
         nhiêu tiền|nhiêu|mấy giờ|mấy|khi nào|bao giờ|bao lâu|ở đâu|đâu|ai|ai vậy|tại sao|vì sao|sao vậy|sao|thế nào|\
         như thế nào|làm sao|cái gì|gì|gì vậy|là gì|có|có ạ|có không|được|được không|được ạ|vâng|vâng ạ|dạ|dạ vâng|ừ|ờ|ừm|\
         không|không ạ|không có|chưa|rồi|xong|đúng|đúng rồi|sai|tạm biệt|hẹn gặp lại|giúp với|giúp tôi|giúp mình|cứu|xin lỗi|\
         làm ơn|tư vấn|tư vấn giúp mình|còn hàng không|còn không|hết hàng|đặt hàng|mua hàng|địa chỉ|liên hệ|lãi suất|lãi suất vay|\
         vay tiền|mở thẻ|tốt|hay quá|ok em|ok shop|ok bạn|ok nhé|ok cảm ơn|hello shop|hi shop|hi em|hello em|ad ơi|em ơi|shop ơi|\
         bạn ơi|bạn là ai|nữa|tiếp|tiếp đi|thêm|ib|inbox giá|rep|chuyển khoản|trả góp|hoàn tiền|đổi trả|bảo hành",
    ),
    (
        Language::SPANISH,
        "hola|buenas|buenos días|buenas tardes|buenas noches|gracias|muchas gracias|de nada|cuánto|cuánto cuesta|precio|sí|\
         por favor|ayuda|adiós|hasta luego|qué tal|cómo estás|vale|claro|perdón|dónde|cuándo|por qué|quién|horario",
    ),
    (
        Language::PORTUGUESE,
        "olá|oi|bom dia|boa tarde|boa noite|obrigado|obrigada|muito obrigado|de nada|quanto|quanto custa|quanto é|preço|sim|\
         não|por favor|ajuda|tchau|tudo bem|até logo|onde|quando|desculpe",
    ),
    (
        Language::FRENCH,
        "bonjour|bonsoir|salut|merci|merci beaucoup|combien|combien ça coûte|prix|oui|non|s il vous plaît|\
         c est combien|au revoir|aide|aidez moi|ça va|comment ça va|d accord|pardon|où|quand|pourquoi|qui|comment|bonne journée",
    ),
    (
        Language::GERMAN,
        "hallo|guten tag|guten morgen|guten abend|gute nacht|danke|danke schön|vielen dank|wie viel|wieviel|was kostet das|preis|ja|\
         nein|bitte|tschüss|auf wiedersehen|hilfe|wie geht es|wie gehts|entschuldigung|wo|wann|warum|wer|moin|servus|grüß gott",
    ),
    (
        Language::ITALIAN,
        "ciao|buongiorno|buon giorno|buonasera|salve|grazie|grazie mille|quanto|quanto costa|prezzo|sì|per favore|prego|arrivederci|\
         aiuto|come stai|scusi|dove|perché|chi|va bene",
    ),
    (
        Language::DUTCH,
        "hallo|hoi|goedemorgen|goedemiddag|goedenavond|dank je|dank u|dankjewel|bedankt|hoeveel|hoeveel kost het|prijs|ja|nee|\
         alstublieft|tot ziens|doei|hulp|waar|wanneer|waarom",
    ),
    (
        Language::SWEDISH,
        "hej|god morgon|god kväll|tack|tack så mycket|hur mycket|vad kostar det|pris|ja|nej|hej då|hjälp",
    ),
    (Language::DANISH, "hej|goddag|godmorgen|tak|mange tak|hvor meget|hvad koster det|pris|ja|nej|farvel|hjælp"),
    (Language::NORWEGIAN, "hei|god morgen|god kveld|takk|tusen takk|hvor mye|hva koster det|pris|ja|nei|ha det|hjelp"),
    (
        Language::FINNISH,
        "hei|moi|terve|hyvää huomenta|hyvää päivää|kiitos|paljon kiitoksia|kuinka paljon|paljonko maksaa|hinta|kyllä|apua|näkemiin",
    ),
    (
        Language::POLISH,
        "cześć|dzień dobry|dobry wieczór|dziękuję|dzięki|ile|ile kosztuje|ile to kosztuje|cena|tak|nie|proszę|do widzenia|pomoc",
    ),
    (
        Language::CZECH,
        "ahoj|dobrý den|dobré ráno|děkuji|díky|kolik|kolik to stojí|cena|ano|ne|prosím|na shledanou|pomoc",
    ),
    (
        Language::HUNGARIAN,
        "szia|helló|jó napot|jó reggelt|köszönöm|mennyi|mennyibe kerül|ár|igen|nem|kérem|viszlát|segítség",
    ),
    (
        Language::ROMANIAN,
        "salut|bună|bună ziua|bună dimineața|mulțumesc|cât|cât costă|preț|da|nu|vă rog|la revedere|ajutor",
    ),
    (
        Language::TURKISH,
        "merhaba|selam|günaydın|iyi günler|iyi akşamlar|teşekkürler|teşekkür ederim|sağ ol|ne kadar|kaç para|fiyat|fiyatı ne kadar|\
         evet|hayır|tamam|lütfen|yardım|nasılsın|hoşça kal|görüşürüz|nerede",
    ),
    (
        Language::INDONESIAN,
        "halo|hai|selamat pagi|selamat siang|selamat sore|selamat malam|terima kasih|makasih|berapa|berapa harganya|harga|ya|tidak|\
         iya|tolong|bantuan|sampai jumpa|apa kabar|dimana|di mana|kapan|siapa",
    ),
    (
        Language::TAGALOG,
        "kumusta|kamusta|magandang umaga|magandang hapon|magandang gabi|salamat|maraming salamat|magkano|magkano po|oo|opo|hindi|tulong|paalam",
    ),
    (Language::CATALAN, "bon dia|bona tarda|bona nit|gràcies|moltes gràcies|quant|quant costa|sisplau|si us plau|adéu"),
    (
        Language::RUSSIAN,
        "привет|здравствуйте|добрый день|доброе утро|добрый вечер|спасибо|большое спасибо|сколько|сколько стоит|цена|да|нет|\
         пожалуйста|помощь|помогите|пока|до свидания|как дела|где|когда|почему|кто|хорошо|ок",
    ),
    (
        Language::UKRAINIAN,
        "привіт|вітаю|добрий день|доброго ранку|добрий вечір|дякую|скільки|скільки коштує|ціна|так|ні|будь ласка|допоможіть",
    ),
    (
        Language::BULGARIAN,
        "здравейте|здравей|здрасти|добър ден|добро утро|благодаря|мерси|колко|колко струва|цена|моля|помощ|довиждане",
    ),
    (Language::SERBIAN, "здраво|добар дан|добро јутро|хвала|колико|колико кошта|цена|молим|помоћ|довиђења"),
    (
        Language::ARABIC,
        "مرحبا|أهلا|السلام عليكم|صباح الخير|مساء الخير|شكرا|شكرا جزيلا|كم|كم السعر|بكم|نعم|لا|من فضلك|مساعدة",
    ),
    (Language::PERSIAN, "سلام|درود|صبح بخیر|ممنون|متشکرم|چقدر|چند|قیمت|بله|نه|لطفا|کمک"),
    (Language::URDU, "السلام علیکم|شکریہ|کتنا|کتنے کا ہے|قیمت|جی|ہاں|نہیں|مدد"),
    (Language::HINDI, "नमस्ते|नमस्कार|धन्यवाद|शुक्रिया|कितना|कितने का है|कीमत|हाँ|हां|नहीं|कृपया|मदद"),
];

/// English words that people write in the middle of any language. They hardly count as English.
pub(super) const BORROWED: &str = "ok okay oki oke hello helo hi hey bye thanks thx tks thank sorry shop shops online offline email mail \
     web website app internet wifi facebook zalo google iphone ipad samsung android laptop size sale ship combo voucher \
     menu pro max plus mini file link chat chatbot bot admin ad inbox check code qr atm visa sms otp vip gym spa hotel resort \
     tour taxi bus pizza test video photo fan club game show top hot stop start standard premium cv hr it ceo vat pdf yes no lol";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_written_as_they_are_looked_up() {
        for (language, phrases) in PHRASES {
            for phrase in phrases.split('|') {
                assert_eq!(phrase.to_lowercase(), phrase, "{language}");
                assert_eq!(phrase.trim(), phrase, "{language}");
                assert!(!phrase.is_empty(), "{language}");
            }
        }
    }
}
