//! Polish, Turkish, Japanese, Chinese and Arabic.

use super::words::Words;
use super::{Life, Unit};

/// Polish.
pub static POLISH: Words = Words {
    tag: "pl",
    is_rtl: false,
    subject: |product| format!("Kod weryfikacyjny dla {product}"),
    title: "Kod weryfikacyjny",
    asked: |product| {
        format!("Poproszono {product}\no potwierdzenie, że ten adres należy do Ciebie.")
    },
    purpose: |purpose| format!("Cel: {purpose}."),
    code_is: "Twój kod to",
    valid: |life| format!("Jest ważny przez {life} i działa tylko raz."),
    secret: |product| {
        format!(
            "Nigdy go nikomu nie podawaj, nawet osobie, która twierdzi,\nże reprezentuje {product}."
        )
    },
    ignore: "Jeśli to nie Twoja prośba, zignoruj tę wiadomość: bez kodu\nnic się nie stanie.",
    life: polish_life,
};

/// Accusative, which `przez` wants: one; two to four but not the teens; the rest.
fn polish_life(Life { count, unit }: Life) -> String {
    let (one, few, many) = match unit {
        Unit::Seconds => ("sekundę", "sekundy", "sekund"),
        Unit::Minutes => ("minutę", "minuty", "minut"),
        Unit::Hours => ("godzinę", "godziny", "godzin"),
    };
    let word = match (count, count % 10, count % 100) {
        (1, ..) => one,
        (_, _, 12..=14) => many,
        (_, 2..=4, _) => few,
        _ => many,
    };
    format!("{count} {word}")
}

/// Turkish, which counts in the singular. The product's name is never given an ending, which would
/// depend on its vowels.
pub static TURKISH: Words = Words {
    tag: "tr",
    is_rtl: false,
    subject: |product| format!("{product} doğrulama kodunuz"),
    title: "Doğrulama kodunuz",
    asked: |product| {
        format!(
            "Bu adresin size ait olduğunun doğrulanması için\n{product} üzerinden bir istekte \
             bulunuldu."
        )
    },
    purpose: |purpose| format!("Amaç: {purpose}."),
    code_is: "Kodunuz",
    valid: |life| format!("Kod {life} boyunca geçerlidir ve yalnızca bir kez kullanılabilir."),
    secret: |product| {
        format!("Kodu hiç kimseyle paylaşmayın,\n{product} adına konuştuğunu söyleyenlerle bile.")
    },
    ignore: "Bu kodu siz istemediyseniz bu iletiyi dikkate almayın: kod olmadan\n\
             hiçbir şey olmaz.",
    life: |life| counted(life, " ", ["saniye", "dakika", "saat"]),
};

/// Japanese. Lines are not broken, since a page would show a blank there.
pub static JAPANESE: Words = Words {
    tag: "ja",
    is_rtl: false,
    subject: |product| format!("{product} の確認コード"),
    title: "確認コード",
    asked: |product| {
        format!(
            "{product} に、このメールアドレスがご本人のものであることを確認するよう依頼がありました。"
        )
    },
    purpose: |purpose| format!("用途：{purpose}。"),
    code_is: "確認コードは次のとおりです。",
    valid: |life| format!("このコードは{life}有効で、一度だけ使用できます。"),
    secret: |product| {
        format!("{product} の関係者を名乗る相手であっても、このコードを決して教えないでください。")
    },
    ignore: "お心当たりがない場合は、このメールを無視してください。コードがなければ何も起こりません。",
    life: |life| counted(life, "", ["秒間", "分間", "時間"]),
};

/// Chinese, simplified.
pub static CHINESE: Words = Words {
    tag: "zh",
    is_rtl: false,
    subject: |product| format!("您的 {product} 验证码"),
    title: "您的验证码",
    asked: |product| format!("{product} 收到请求，需要确认此邮箱地址属于您。"),
    purpose: |purpose| format!("用途：{purpose}。"),
    code_is: "您的验证码是",
    valid: |life| format!("验证码在 {life}内有效，且只能使用一次。"),
    secret: |product| format!("请勿将验证码告诉任何人，即使对方自称来自 {product}。"),
    ignore: "如果您没有请求验证码，请忽略此邮件：没有验证码，就不会发生任何事。",
    life: |life| counted(life, " ", ["秒", "分钟", "小时"]),
};

/// Arabic.
pub static ARABIC: Words = Words {
    tag: "ar",
    is_rtl: true,
    subject: |product| format!("رمز التحقق الخاص بك لدى {product}"),
    title: "رمز التحقق الخاص بك",
    asked: |product| format!("طُلب من {product}\nتأكيد أن هذا العنوان يخصّك."),
    purpose: |purpose| format!("الغرض: {purpose}."),
    code_is: "رمز التحقق هو",
    valid: |life| format!("الرمز صالح لمدة {life} ويُستخدم مرة واحدة فقط."),
    secret: |product| format!("لا تشارك هذا الرمز مع أي شخص، حتى مع من يقول إنه من\n{product}."),
    ignore: "إذا لم تطلب هذا الرمز، فتجاهل هذه الرسالة: لن يحدث شيء\nمن دون الرمز.",
    life: arabic_life,
};

/// Genitive, which `لمدة` wants: one and two are words; three to ten (of every hundred) take the
/// plural, all else the singular.
fn arabic_life(Life { count, unit }: Life) -> String {
    let (one, two, few, many) = match unit {
        Unit::Seconds => ("ثانية واحدة", "ثانيتين", "ثوانٍ", "ثانية"),
        Unit::Minutes => ("دقيقة واحدة", "دقيقتين", "دقائق", "دقيقة"),
        Unit::Hours => ("ساعة واحدة", "ساعتين", "ساعات", "ساعة"),
    };
    match (count, count % 100) {
        (1, _) => one.to_owned(),
        (2, _) => two.to_owned(),
        (_, 3..=10) => format!("{count} {few}"),
        _ => format!("{count} {many}"),
    }
}

/// A count in a language whose units have one form.
fn counted(Life { count, unit }: Life, blank: &str, [secs, mins, hours]: [&str; 3]) -> String {
    let word = match unit {
        Unit::Seconds => secs,
        Unit::Minutes => mins,
        Unit::Hours => hours,
    };
    format!("{count}{blank}{word}")
}
