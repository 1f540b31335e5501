//! Frequent words of the languages that share a script with others, most frequent first.
//!
//! The lists come from general knowledge of the languages (grammar words, question words, the vocabulary of
//! customers' chats), not from any data set. Only the rough order matters: a word's place gives its assumed
//! frequency by Zipf's law. Words are written with their signs; the reader of this table derives the forms
//! without them. Vietnamese is listed by syllable, as it is written.

use crate::domain::language::Language;

mod other_scripts;

/// All lists, one per language.
pub(super) fn lists() -> impl Iterator<Item = (Language, &'static str)> {
    LATIN.iter().chain(other_scripts::WORDS).copied()
}

/// The languages in the Latin script.
const LATIN: &[(Language, &str)] = &[
    (Language::ENGLISH, ENGLISH),
    (Language::VIETNAMESE, VIETNAMESE),
    (
        Language::SPANISH,
        "de la que el en y a los se del las un por con no una su para es al lo como más pero sus le ya o este sí \
     porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno \
     les ni contra otros ese eso ante ellos e esto mí antes algunos qué unos yo otro otras otra él tanto esa \
     estos mucho quienes nada muchos cual cuál cuáles poco ella estar estas algunas algo nosotros mi mis tú \
     te ti tu tus cómo cuándo cuánto cuánta cuántos cuántas dónde quién quiénes estoy está están estamos soy \
     eres son fue fueron era tengo tiene tienen quiero quiere puedo puede pueden necesito hola gracias buenos \
     buenas días tardes noches precio cuesta cuestan ayuda ayudar ayudarme hacer hace saber favor mañana hoy \
     ahora horario abierto tienda cuenta pedido envío tarjeta dinero comprar llama usted ustedes vosotros \
     adiós bien mejor gustaría año años después vez ser había problema número nuevo nueva pago pagar mes \
     semana día noche devolver devolución contraseña busco hablar cancelar cambiar barato caro demasiado \
     grande pequeño rojo azul negro blanco cerca correo dirección",
    ),
    (
        Language::PORTUGUESE,
        "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à \
     seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem \
     mesmo aos ter seus quem nas me esse eles estão você vocês tinha foram essa num nem suas meu às minha têm \
     numa pelos elas havia seja qual quais será nós tenho lhe deles essas esses pelas este fosse dele tu te \
     lhes meus minhas onde quanto quanta quantos quantas porque quê olá oi obrigado obrigada bom boa dia \
     tarde noite preço custa custam ajuda ajudar posso pode quero gostaria preciso fazer faz conta pedido \
     cartão loja entrega hoje amanhã agora aqui são sou estou vai vou bem tudo favor dinheiro comprar horário \
     abre problema número novo nova pago pagar mês semana ano devolver devolução senha procuro falar cancelar \
     mudar trocar barato caro demais grande pequeno azul preto branco perto endereço chegou",
    ),
    (
        Language::FRENCH,
        "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec ou \
     son aux mais comme cette ses leur été ont ces nous vous je tu elle ils elles on lui y même aussi bien \
     sans fait tout tous toute toutes être avoir ai as avez avons sa si deux entre très peut où quand comment \
     combien pourquoi quel quelle quels quelles quoi était étaient mon ma mes ton ta tes votre vos notre nos \
     me te moi toi bonjour bonsoir salut merci beaucoup plaît oui non prix coûte aide aider pouvez puis peux \
     veux voudrais besoin faire commande compte carte livraison argent acheter aujourd hui demain maintenant \
     ici c d l j s n m t qu jour ouvert heure heures magasin suis es êtes sommes va vais jusqu bon bonne \
     depuis après avant chez ça cela problème numéro nouveau nouvelle payer mois semaine année rendre retour \
     passe cherche parler annuler changer cher trop grand petit rouge bleu noir blanc près adresse erreur \
     facture marche",
    ),
    (
        Language::GERMAN,
        "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus \
     er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber \
     vor zur bis mehr durch man sein wurde wenn ich du wir ihr mir mich dir dich uns euch mein meine meinen \
     meiner dein deine ihre ihren ihrem kein keine keinen können kann könnte könnten muss soll will möchte \
     hätte wäre gibt was wer wo wann warum wieso welche welcher welches welchen wieviel viel viele hallo \
     danke bitte guten tag morgen abend gut hilfe helfen brauche kostet kosten preis konto bestellung karte \
     lieferung geld kaufen heute jetzt hier bin bist seid habe hast sehr schon immer dieser diese dieses ja \
     nein wieder machen geht unter zwischen gegen ohne wurden waren problem nummer neue neuen bezahlen monat \
     woche jahr zurück passwort suche sprechen kündigen ändern billig teuer groß klein rot blau schwarz weiß \
     nähe adresse fehler rechnung funktioniert warten laden öffnet",
    ),
    (
        Language::ITALIAN,
        "di e il la che in a per un è del non sono una le con i da si alla della al ha come dei più nel lo gli \
     delle ma anche o se su ci dal questo questa hanno suo sua dalla nella era fu stato mi ti vi io tu lui \
     lei noi voi loro mio mia tuo tua cosa chi dove quando quanto quanta quanti quante perché quale quali \
     essere avere fare posso può puoi vorrei voglio bisogno ciao grazie buongiorno buonasera salve prego \
     favore prezzo costa costano aiuto aiutarmi conto ordine carta consegna soldi comprare oggi domani adesso \
     ora qui sei siamo siete c l dell nell all sull molto bene tutto tutti solo dopo prima senza tra fra \
     negozio aperto ho hai abbiamo avete cui degli dai dagli sulla sul questi queste quel quella problema \
     numero nuovo nuova pagare mese settimana anno restituire reso cerco parlare annullare cambiare troppo \
     caro grande piccolo rosso blu nero bianco vicino indirizzo errore fattura funziona arrivato apre chiude",
    ),
    (
        Language::DUTCH,
        "de van het een en in is dat op te zijn met voor die niet aan er om ook als dan maar bij of uit nog \
     worden door naar heeft tot wordt over hij ze zich hebben deze dit wat werd was waren kan kunnen moet wel \
     meer geen hun zo haar je jij ik we wij jullie u mij me mijn jouw uw ons onze wie waar wanneer waarom hoe \
     hoeveel welke welk hallo dank bedankt dankjewel goedemorgen goedendag alstublieft prijs kost kosten \
     helpen hulp nodig graag wil willen zou heb hebt ben bent doen gaat rekening bestelling kaart levering \
     geld kopen vandaag morgen nu hier daar goed veel alle al na tegen tussen zonder ja nee winkel open \
     probleem nummer nieuw nieuwe betalen maand week jaar terug wachtwoord zoek praten opzeggen wijzigen \
     goedkoop duur groot klein rood blauw zwart wit buurt adres fout factuur werkt",
    ),
    (
        Language::SWEDISH,
        "och i att det som en på är av för med den till de inte har om ett han men var jag så från vi kan man när \
     där nu hade ska skulle också eller hon sig vad dem efter hur mycket många här vill vem vilka vilken \
     vilket varför du ni mig dig min mitt mina din ditt era vår hej tack god morgon dag kväll snälla pris \
     kostar hjälp hjälpa behöver konto beställning kort leverans pengar köpa idag imorgon få får finns blev \
     bli blir mer bara än under vid mellan utan ja nej varit vara problem nummer ny nytt betala månad vecka \
     år tillbaka lösenord söker prata avboka ändra billig dyrt dyr stor liten röd blå svart vit nära adress \
     fel faktura fungerar butik butiken behövs",
    ),
    (
        Language::DANISH,
        "og i at det er en til af på for med der som den de har ikke et om han men var jeg så fra vi kan man når \
     nu havde skal skulle også eller hun sig hvad dem efter hvor meget mange her vil hvem hvilken hvilket \
     hvilke hvorfor hvornår hvordan du mig dig min mit mine din dit jer vores hej tak goddag godmorgen \
     venligst pris koster hjælp hjælpe brug konto ordre kort levering penge købe dag morgen få får findes \
     blev bliver mere kun end under ved mellem uden ja nej været være nummer ny nyt betale måned uge år \
     tilbage adgangskode søger tale ændre billig dyrt stor lille rød blå sort hvid nær adresse fejl faktura \
     virker butik",
    ),
    (
        Language::NORWEGIAN,
        "og i det på er en som til av for med at har ikke den de om et han men var jeg så fra vi kan man når nå \
     hadde skal skulle også eller hun seg hva dem etter hvor mye mange her vil hvem hvilken hvilket hvilke \
     hvorfor hvordan du meg deg min mitt mine din ditt dere vår våre hei takk god morgen vær snill pris \
     koster hjelp hjelpe trenger konto bestilling kort levering penger kjøpe dag få får finnes ble blir mer \
     bare enn under ved mellom uten ja nei vært være nummer ny nytt betale måned uke år tilbake passord leter \
     snakke endre billig dyrt stor liten rød blå svart hvit nær adresse feil faktura virker butikk",
    ),
    (
        Language::FINNISH,
        "ja on ei se että oli ovat kuin mutta hän myös joka tai niin jos kun sen ole mitä mikä missä milloin \
     miksi miten kuka kuinka paljon paljonko monta minä sinä me te he minun sinun olen olet olemme hei moi \
     kiitos huomenta päivää anteeksi hinta maksaa apua auttaa tarvitsen haluan haluaisin voin voit voitte \
     voiko saada tili tilaus kortti toimitus raha ostaa tänään huomenna nyt tässä täällä tämä ne nämä hyvä \
     hyvää vielä vain ennen jälkeen kanssa sekä joiden mukaan ollut olla ongelma numero uusi maksu kuukausi \
     viikko vuosi takaisin salasana etsin puhua peruuttaa vaihtaa halpa kallis iso pieni punainen sininen \
     musta valkoinen lähellä osoite virhe lasku toimi kauppa",
    ),
    (
        Language::ESTONIAN,
        "ja on ei et see oli ka kui ta mis ning aga või siis nii mida kes kus millal miks kuidas palju mitu ma sa \
     me te nad mina sina minu sinu olen oled tere aitäh palun hommikust päevast hind maksab abi aidata vaja \
     tahan sooviksin saan saate konto tellimus kaart raha osta täna homme nüüd siin seda selle kõik oma välja \
     mitte ära olla",
    ),
    (
        Language::LATVIAN,
        "un ir ar no uz par ka kas tas bet arī vai tā kā es tu viņš viņa mēs jūs viņi mans mana ko kur kad kāpēc \
     cik kāds kāda kādi labdien sveiki paldies lūdzu cena maksā palīdzība palīdzēt vajag gribu varu konts \
     pasūtījums karte piegāde nauda pirkt šodien rīt tagad šeit šis šī nav būt bija tikai vēl pēc līdz pie",
    ),
    (
        Language::LITHUANIAN,
        "ir yra iš į kad su tai bet ar kaip tik nuo už apie aš tu jis ji mes jūs jie mano ką kas kur kada kodėl \
     kiek koks kokia kokie labas sveiki ačiū prašau kaina kainuoja pagalba padėti reikia noriu galiu sąskaita \
     užsakymas kortelė pristatymas pinigai pirkti šiandien rytoj dabar čia šis ši nėra būti buvo dar po iki \
     prie jau jo jos",
    ),
    (
        Language::POLISH,
        "w i z na się nie do to jest że o jak po co za od tak ale przez czy dla go już są ma był tylko oraz może \
     być przy lub ten jego jej ich była było były kto gdzie kiedy dlaczego ile jaki jaka jakie który która \
     które ja ty on ona my wy mnie mi mój moja moje twój cześć dzień dobry witam dziękuję dzięki proszę cena \
     kosztuje pomoc pomóc potrzebuję chcę chciałbym chciałabym mogę można konto zamówienie karta dostawa \
     pieniądze kupić dzisiaj dziś jutro teraz tutaj jestem mam masz macie problem numer nowy nowa płacić \
     miesiąc tydzień rok zwrot hasło szukam rozmawiać anulować zmienić tani drogo drogie duży mały czerwony \
     niebieski czarny biały blisko adres błąd faktura działa sklep",
    ),
    (
        Language::CZECH,
        "a v se na je že o s z do i to k ve pro za by ale si po jako jsem jsou jste nebo tak co když jak už má od \
     byl byla bylo byli která který které kdo kde kdy proč kolik jaký jaká jaké já ty on ona my vy mě mi můj \
     moje moji ahoj dobrý den děkuji díky prosím cena stojí pomoc pomoci pomoct potřebuji chci chtěl bych \
     mohu můžu můžete účet objednávka karta doručení peníze koupit dnes zítra teď tady mám máte není problém \
     číslo nový nová platit měsíc týden rok zpět heslo hledám mluvit zrušit změnit levný drahé velký malý \
     červený modrý černý bílý blízko adresa chyba faktura funguje obchod",
    ),
    (
        Language::SLOVAK,
        "a v sa na je že o s z do i to k vo pre za by ale si po ako som sú ste alebo tak čo keď už má od bol bola \
     bolo boli ktorá ktorý ktoré kto kde kedy prečo koľko aký aká aké ja ty on ona my vy ma mi môj moje ahoj \
     dobrý deň ďakujem vďaka prosím cena stojí pomoc pomôcť potrebujem chcem chcel môžem môžete účet \
     objednávka karta doručenie peniaze kúpiť dnes zajtra teraz tu mám máte nie",
    ),
    (
        Language::SLOVENE,
        "je in v na se da za so ki pa ne z s po tudi kot bi ali ko od že jih o kaj kdo kje kdaj zakaj koliko kako \
     kateri katera jaz ti on ona mi vi moj moja živjo zdravo dober dan hvala prosim cena stane pomoč pomagati \
     potrebujem želim lahko račun naročilo kartica dostava denar kupiti danes jutri zdaj tukaj sem imam imate \
     ni bil bila bilo bili",
    ),
    (
        Language::CROATIAN,
        "je i u na se da za su od s koji što kao ne ili ali bi će sam te iz po koja koje kako tko gdje kada zašto \
     koliko kakav kakva ja ti on ona mi vi moj moja moje bok zdravo dobar dan hvala molim cijena košta pomoć \
     pomoći trebam želim mogu možete račun narudžba kartica dostava novac kupiti danas sutra sada ovdje imam \
     imate nije bio bila bilo bili jesam smo ste jeste nisam ima li",
    ),
    (
        Language::HUNGARIAN,
        "a az és hogy nem is egy van ez de meg csak ha már mi ki hol mikor miért mennyi hány milyen hogyan melyik \
     én te ő ti ők nekem szia helló köszönöm jó napot reggelt estét kérem kérek ár ára kerül segítség \
     segíteni segítene kell szeretnék akarok tudok lehet tudna számla rendelés kártya szállítás pénz venni ma \
     holnap most itt volt voltak lesz vagy vagyok után mint még nagyon fel el be kérdésem probléma szám új \
     fizetni hónap hét év vissza jelszó keresek beszélni lemondani cserélni olcsó drága nagy kicsi piros kék \
     fekete fehér közel cím hiba működik bolt",
    ),
    (
        Language::ROMANIAN,
        "de și în a la cu pe nu o că din este mai care un pentru se sunt sau dar ca să au prin fost după ce cine \
     unde când cum cât câți câte eu tu el ea noi voi ei mie mea meu bună salut mulțumesc ziua dimineața vă \
     rog te preț costă ajutor ajuta am nevoie vreau aș dori pot poți puteți cont comandă card livrare bani \
     cumpăra azi astăzi mâine acum aici ai are avem fi era lui lor acest această foarte problemă număr nou \
     nouă plăti plata lună săptămână înapoi parola caut vorbi anula schimba ieftin scump prea mare mic roșu \
     albastru negru alb aproape adresă eroare factură merge magazin venit",
    ),
    (
        Language::TURKISH,
        "ve bir bu da de için ile çok ne mi mı mu mü var yok olarak daha gibi o olan ama en kadar sonra her ben \
     sen biz siz onlar benim senin bana sana nasıl nerede nereye kim hangi kaç nedir neden niçin zaman \
     merhaba selam teşekkürler teşekkür ederim günaydın lütfen fiyat fiyatı lira yardım yardımcı eder olur \
     musunuz misiniz mısınız istiyorum gerek hesap hesabım sipariş siparişim kart teslimat para satın almak \
     bugün yarın şimdi burada değil değilim evet hayır tamam iyi günler saat oldu olduğu tarafından ilk iki \
     ya ki veya sorun numara yeni ödeme ödemek ay hafta yıl iade şifre arıyorum konuşmak iptal değiştirmek \
     ucuz pahalı büyük küçük kırmızı mavi siyah beyaz yakın adres hata fatura çalışmıyor mağaza kargo geldi \
     açık",
    ),
    (
        Language::AZERBAIJANI,
        "və bir bu da də üçün ilə çox nə mi var yox olan amma ən qədər sonra hər mən sən biz siz onlar mənim \
     sənin mənə necə harada kim hansı neçə nədir niyə salam təşəkkür edirəm sağ ol zəhmət olmasa qiymət \
     qiyməti kömək istəyirəm lazımdır hesab sifariş kart pul almaq gün sabah indi burada deyil bəli xeyr \
     olaraq olar kimi",
    ),
    (
        Language::UZBEK,
        "va bir bu bilan uchun ham emas bor yoʻq nima kim qayerda qachon qanday qancha nega men sen biz siz ular \
     mening sizning salom assalomu alaykum rahmat iltimos narxi kerak mumkin hisob pul bugun ertaga hozir \
     qilish edi boʻlgan",
    ),
    (
        Language::TURKMEN,
        "we bir bu bilen üçin hem däl bar ýok näme kim nirede haçan nähili näçe men sen biz siz olar meniň salam \
     sag boluň bahasy gerek mümkin pul şu gün ertir häzir",
    ),
    (
        Language::INDONESIAN,
        "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada oleh kami sudah anda \
     atau bisa kita seperti dia mereka kamu apa apakah siapa mana dimana kapan mengapa kenapa berapa \
     bagaimana gimana aku halo hai terima kasih selamat pagi siang sore malam tolong harga harganya bantu \
     bantuan membantu butuh ingin mau dapat akun pesanan kartu pengiriman uang beli membeli hari besok \
     sekarang sini adalah lebih telah bukan belum jika kalau tahun banyak buka jam saja nya ya masalah nomor \
     baru bayar membayar bulan minggu kembali sandi cari mencari bicara batal ganti murah mahal terlalu besar \
     kecil merah biru hitam putih dekat alamat salah tagihan rusak toko tutup hilang",
    ),
    (
        Language::JAVANESE,
        "lan ing kang sing iku saka karo ora kanggo iki uga ana dadi wong aku kowe kula sampeyan panjenengan apa \
     sapa ngendi kapan kepriye piye pira matur nuwun sugeng enjing dalu regane arep bisa saiki iya dudu \
     nanging utawa wis",
    ),
    (
        Language::TAGALOG,
        "ang ng sa na at mga ay ko mo ka ako siya ito iyon si ni hindi may para po opo kung kami kayo tayo sila \
     ano sino saan kailan bakit paano magkano ilan alin kumusta kamusta salamat magandang umaga hapon gabi \
     araw presyo tulong tulungan kailangan gusto puwede pwede pera bumili ngayon bukas dito meron mayroon \
     wala ba din rin lang nang kanyang ating aking iyong isang problema numero bago bayad magbayad buwan \
     linggo taon ibalik hanap usap palitan mura mahal malaki maliit pula asul itim puti malapit mali gumagana \
     tindahan",
    ),
    (
        Language::CATALAN,
        "de la el i que a en les els del per un una amb no és es al dels com més però o si ha seva també seu són \
     aquest aquesta entre quan molt sense sobre fins on qui què quin quina quins quant quants jo tu ell ella \
     nosaltres hola gràcies bon dia bona tarda nit sisplau preu costa ajuda ajudar vull voldria necessito puc \
     compte comanda targeta diners comprar avui demà ara aquí tinc teniu està estan fer d l",
    ),
    (
        Language::AFRIKAANS,
        "die van en in is het nie te dat om vir op met sy wat hy ek ons jy hulle julle was as aan deur ook maar \
     sal kan moet my jou hoe hoeveel waar wanneer waarom wie hallo dankie asseblief prys kos hulp help nodig \
     wil rekening bestelling kaart geld koop vandag môre nou hier wees gaan baie daar hierdie word",
    ),
    (
        Language::ESPERANTO,
        "la de kaj en estas mi vi li ŝi ni ili al por ne kun ke oni tio kio kiu kie kiam kial kiom kiel ĉu \
     saluton dankon bonan matenon tagon vesperon bonvolu prezo kostas helpi helpo bezonas volas povas mono \
     aĉeti hodiaŭ morgaŭ nun jen sed aŭ el pri tre estis tiu",
    ),
    (
        Language::LATIN,
        "et in est non ad ut cum sed quod qui quae si ex de ab per nec sunt esse atque aut enim quid quis ubi \
     quando cur quam ego tu nos vos mihi tibi salve gratias ago autem etiam eius hoc haec ille erat",
    ),
    (
        Language::WELSH,
        "y yr yn a o i ar ac mae ei eu am wedi gan bod sydd fel hyn pan beth pwy ble pryd pam sut faint fi ti chi \
     ni nhw helo diolch bore da prynhawn nos os gwelwch pris help eisiau gallu arian prynu heddiw yfory nawr \
     yma dw dych ydy roedd oedd hefyd",
    ),
    (
        Language::SWAHILI,
        "ya na wa kwa ni katika la za cha hii kama yake au si mimi wewe sisi nini nani wapi lini kwanini vipi \
     gani ngapi habari asante jambo tafadhali bei msaada nataka naomba pesa kununua leo kesho sasa hapa \
     hapana ndiyo yangu yako kuwa lakini",
    ),
    (Language::AKAN, "na no sɛ wɔ ne a ɛyɛ me wo yɛ mo ɛna deɛ bi ho mu akwaaba medaase sɛn"),
    (
        Language::ZULU,
        "ukuthi futhi kodwa uma ngoba ngiyabonga sawubona unjani yebo cha kanjani malini usizo ngicela ngifuna \
     imali namuhla kusasa manje lapha mina wena thina nina bona",
    ),
    (
        Language::SHONA,
        "kuti uye asi kana ndiri ndinoda mhoro makadii ndatenda chii ani kupi riini sei marii mari nhasi mangwana \
     zvino pano ini iwe isu imi ivo",
    ),
];

const ENGLISH: &str = "the of and to in is a that for it was on with as be at by this from are have i you or an not which his \
     but had were he she they we their one all has been who would what when there if more will no out so up \
     said about than its into them can only other time new some could these two may then do first any my now \
     such like our over me after also did many must before through years where your much how well should \
     because each just those people too does very why whose whom during between under while both most being \
     same another again against here within without until every since us him her own whether might shall am \
     don didn doesn isn aren wasn weren won couldn wouldn shouldn hasn haven t s re ll ve m d let get make \
     made go going went come came take took see know known think want need use used using work works find \
     found give given tell call called name named help show put keep set become became say says mean means \
     please price cost costs buy sell pay paid payment order orders account card refund return returns \
     delivery deliver shipping shipped open close closed hours hour today tomorrow tonight yesterday morning \
     afternoon evening night day days week month year store website number address phone contact support \
     service services product products available size color colour discount free money bank loan loans \
     interest rate rates credit insurance policy cancel change update check track status problem issue broken \
     password login reset sign access information question answer ask talk speak agent human person someone \
     anyone something anything nothing everything good great bad best better long short high low big small \
     large last next old right left still never always often yet even really sure maybe sorry welcome cheap \
     expensive fast quick quickly far near around away back down off few little less least several different \
     kind type part place country city world war government state system group company king president century \
     language man woman men women child children life death water food house school university law church \
     music book history science theory party team game player lost play played started began built created \
     written wrote born died happened located considered responsible common popular important main major \
     total average percent percentage according able possible happen anyway thing things way ways lot look \
     looking looks start stop try trying wait waiting send sent receive received got getting having doing \
     done saying making";

const VIETNAMESE: &str = "là của và có các được cho không trong một người những để với đã này khi ở đó từ về đến ra như nào gì vào \
     năm thì bị lại cũng mà sự ai nhiều sẽ trên hay đang việc rất nhất bao nhiêu mấy đâu sao tại theo hơn tôi \
     bạn mình em anh chị ạ nhé nha vậy thế ông bà chúng ta họ nó hai ba ngày tháng giờ nước số con cái chiếc \
     cuộc công ty hàng tiền giá mua bán vay lãi suất ngân khoản thẻ tài chính bảo hiểm đơn giao trả góp phí \
     cần muốn biết hỏi giúp làm đi thể phải nên chưa rồi còn chỉ đều hoặc nếu vì do bởi nhưng trước sau giữa \
     ngoài dưới đầu cuối lần loại phần nơi tên thời gian thứ gọi nói thấy xem tìm hiểu dùng sử dụng đăng ký \
     nhận gửi mở đóng đổi hủy xin chào cảm ơn vui lòng dạ vâng ừ thành phố nhà đất đường trường học sinh viên \
     dân quốc gia phủ nhân khách dịch vụ sản phẩm cửa liên hệ địa điện thoại tư vấn hỗ trợ thông tin hướng \
     dẫn quy định điều kiện thủ tục hồ sơ thanh toán chuyển rút nạp mức hạn kỳ lượng tính toàn cả mỗi mọi \
     từng cùng nhau khác mới cũ lớn nhỏ cao thấp dài ngắn tốt đẹp xấu nhanh chậm đúng sai xong nữa luôn vẫn \
     thường đây kia ấy nay mai hôm qua sáng trưa chiều tối đêm tuần quá lắm khá tổng cộng gồm bắt kết thúc \
     xảy tạo xây dựng phát triển đặc biệt quan trọng ảnh hưởng nguyên nghĩa ý kiểu cách thức tác vua chiến \
     tranh quân đội cầu trận đấu giải thưởng vị trí khu vực vùng miền biển núi sông cây động vật chất khí \
     nhiệt độ năng ngôn ngữ tiếng việt nam mỹ pháp đức trung nhật hàn lý thuyết hóa bài viết sách nhạc phim \
     truyền hình lịch văn nghệ thuật tôn giáo luật quyền tự lâu xa gần ít đủ mất dễ khó thích yêu ghét ăn \
     uống ngủ nghỉ đọc nghe nhìn đưa lấy mang giữ chạy sống chết cười khóc bên cạnh tới lên xuống quay bằng \
     cực kì hiện đại diện tích đồng nghìn trăm triệu tỷ tỉ phút giây mã màu áo quần giày xe máy ship miễn \
     giảm khuyến mãi hành lỗi hỏng sửa giùm hộ cháu cô chú bác shop alo ok dc ko k đc vs mk bn j z";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_language_has_one_list_of_lower_case_words() {
        let mut seen = HashSet::new();
        for (language, words) in lists() {
            assert!(seen.insert(language), "two lists for {language}");
            assert!(words.split(' ').count() >= 16, "too few words for {language}");
            assert_eq!(words.to_lowercase(), words, "{language}");
        }
    }
}
