//! What a word's letters, clusters and endings say about its language when the word itself is not listed.

use crate::domain::language::Language;

/// The letters beyond a-z (or, outside the Latin script, beyond the shared ones) that a language writes natively.
/// A word with such a letter speaks against every language that does not have it.
pub(super) const LETTERS: &[(Language, &str)] = &[
    (
        Language::VIETNAMESE,
        "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    ),
    (Language::SPANISH, "áéíñóúü"),
    (Language::PORTUGUESE, "àáâãçéêíóôõú"),
    (Language::FRENCH, "àâçèéêëîïôùûüÿœæ"),
    (Language::GERMAN, "äöüß"),
    (Language::ITALIAN, "àèéìòù"),
    (Language::DUTCH, "éèëï"),
    (Language::SWEDISH, "åäö"),
    (Language::DANISH, "åæø"),
    (Language::NORWEGIAN, "åæø"),
    (Language::FINNISH, "äö"),
    (Language::ESTONIAN, "äõöüšž"),
    (Language::LATVIAN, "āčēģīķļņšūž"),
    (Language::LITHUANIAN, "ąčęėįšųūž"),
    (Language::POLISH, "óąćęłńśźż"),
    (Language::CZECH, "áéíóúýčďěňřšťůž"),
    (Language::SLOVAK, "áäéíóôúýčďĺľňŕšťž"),
    (Language::SLOVENE, "čšž"),
    (Language::CROATIAN, "ćčđšž"),
    (Language::HUNGARIAN, "áéíóöúüőű"),
    (Language::ROMANIAN, "âîăşţșț"),
    (Language::TURKISH, "çöüğışâ"),
    (Language::AZERBAIJANI, "çöüğışə"),
    (Language::TURKMEN, "äçöüýňşž"),
    (Language::UZBEK, "ʻʼ"),
    (Language::TAGALOG, "ñ"),
    (Language::CATALAN, "àçèéíïòóúü"),
    (Language::AFRIKAANS, "êëôûéèï"),
    (Language::ESPERANTO, "ĉĝĥĵŝŭ"),
    (Language::WELSH, "âêîôûŵŷ"),
    (Language::AKAN, "ɔɛ"),
    (Language::RUSSIAN, "ёъыэйищь"),
    (Language::UKRAINIAN, "ґєіїйищь"),
    (Language::BELARUSIAN, "ёіўыэйь"),
    (Language::BULGARIAN, "ъйищь"),
    (Language::SERBIAN, "ђјљњћџи"),
    (Language::MACEDONIAN, "ѓѕјљњќџи"),
    (Language::ARABIC, "ةىيكأإئؤ"),
    (Language::PERSIAN, "پچژگیکئ"),
    (Language::URDU, "ٹپچڈڑژگںھہیےکئ"),
    (Language::MARATHI, "ळ"),
    (Language::YIDDISH, "װױײ"),
];

/// Endings, separated by spaces.
pub(super) const ENDINGS: &[(Language, &str)] = &[
    (
        Language::ENGLISH,
        "ing ed tion sion ness ment ful less ous ight ity ly able ian ical ship",
    ),
    (
        Language::SPANISH,
        "ción ciones dad mente ando iendo amos ado ados ada idad illo",
    ),
    (
        Language::PORTUGUESE,
        "ção ções dade mente ando inho agem ões",
    ),
    (
        Language::FRENCH,
        "eur eux aire ette ique aient ée és eau ez tion elle ment",
    ),
    (
        Language::GERMAN,
        "ung ungen keit heit schaft lich isch chen ieren ten",
    ),
    (
        Language::ITALIAN,
        "zione zioni ità mente issimo are ato ata ello etto anno",
    ),
    (Language::DUTCH, "lijk heid tje ing den en"),
    (Language::SWEDISH, "ningen het lig ning orna arna tion"),
    (Language::DANISH, "hed lig ning erne tion"),
    (Language::NORWEGIAN, "het lig ning ene sjon"),
    (
        Language::FINNISH,
        "ssa ssä lla llä sta stä nen tta ttä inen iin",
    ),
    (Language::ESTONIAN, "mine sse ga st ud"),
    (Language::POLISH, "ość owa nie ego ych cie ski ów"),
    (Language::CZECH, "ost ní ova ého ých ský"),
    (Language::SLOVAK, "osť nie ova ého ých ský"),
    (Language::CROATIAN, "ije nja ski ost anje"),
    (Language::HUNGARIAN, "ság ség nak nek ban ben tól ról ást"),
    (Language::ROMANIAN, "ului ilor ește rea ție ul"),
    (
        Language::TURKISH,
        "lar ler yor yorum mak mek dır dir lık lik iniz ınız mış miş ları leri dan den",
    ),
    (Language::INDONESIAN, "nya kan kah"),
    (
        Language::RUSSIAN,
        "ость ение ание ться ого ами ете ешь ский ция",
    ),
    (
        Language::UKRAINIAN,
        "ість ення ання тися ого ами ете ський ція",
    ),
    (Language::BULGARIAN, "ът ият ите ето та ният ция"),
];

/// Letter clusters that are common in one language and rare outside it, separated by spaces.
pub(super) const CLUSTERS: &[(Language, &str)] = &[
    (Language::ENGLISH, "th wh ck sh oo ee gh ow"),
    (Language::SPANISH, "ll rr ñ uie ue"),
    (Language::PORTUGUESE, "lh nh ão õe"),
    (Language::FRENCH, "eau oi ou"),
    (Language::GERMAN, "sch tz cht ß ei"),
    (Language::ITALIAN, "cch zz ggi gli tt"),
    (Language::DUTCH, "ij aa oe uu sch ee oo"),
    (Language::FINNISH, "kk uu yy ää aa ii"),
    (Language::ESTONIAN, "õ üü aa uu"),
    (Language::POLISH, "cz sz rz dz"),
    (Language::CROATIAN, "lj nj ije"),
    (Language::HUNGARIAN, "gy sz ny cs zs"),
    (Language::RUSSIAN, "стр ств"),
];
