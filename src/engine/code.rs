//! The code itself: computed under a key whenever it is needed, never kept.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock::{NoRandomness, Random};

/// The key of one daemon's life: codes and the names of addresses are computed under it.
///
/// HMAC-SHA-256 (RFC 2104), as HOTP computes its codes (RFC 4226). A session's record alone, or the
/// key alone, gives nobody a code. It cannot be printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// What a keyed hash is for. Every use has its own, so that no output of one is an output of another.
#[derive(Clone, Copy)]
enum Use {
    Code = 1,
    Address = 2,
    Client = 3,
    Veil = 4,
}

/// The keyed hash of an address or of a client, by which its counters are found: counters hold no
/// addresses. 128 bits, so that two never meet.
pub type Name = [u8; 16];

/// The random bytes of a session from which, with the [`Key`], its code is computed.
pub type Nonce = [u8; 16];

impl Key {
    /// Draws a key of 256 bits.
    ///
    /// # Errors
    /// [`NoRandomness`] when the generator gives nothing.
    pub fn draw(random: &mut dyn Random) -> Result<Self, NoRandomness> {
        // HMAC fills a shorter key up with zeros to the block of 64 bytes.
        let mut block = [0; 64];
        random.fill(&mut block[..32])?;
        let key = Self(Hmac::new(&block.into()));
        block.zeroize();
        Ok(key)
    }

    /// The code that belongs to `nonce`, not computed yet.
    #[must_use]
    pub const fn seal<'k>(&'k self, nonce: &'k Nonce, digits: u8) -> SealedCode<'k> {
        SealedCode { key: self, nonce, digits }
    }

    /// Whether `guess` is the code that belongs to `nonce`. Constant time.
    #[must_use]
    pub fn opens(&self, nonce: &Nonce, digits: u8, guess: &Typed) -> bool {
        bool::from(self.number(nonce, digits).ct_eq(&guess.number))
    }

    /// The code that belongs to `nonce`, as a number.
    fn number(&self, nonce: &Nonce, digits: u8) -> u64 {
        // A block holds four draws; hardly ever (about once in 10^13 codes) is a second needed.
        let mut block = 0_u8;
        let mut hash = self.hash(Use::Code, &[nonce, &[block]]);
        let mut taken = 0;
        let number = sample(digits, || {
            if taken == hash.len() {
                block = block.wrapping_add(1);
                hash.zeroize();
                hash = self.hash(Use::Code, &[nonce, &[block]]);
                taken = 0;
            }
            let draw = hash[taken..].first_chunk().map_or(0, |draw| u64::from_be_bytes(*draw));
            taken += 8;
            draw
        });
        hash.zeroize();
        number
    }

    /// The name under which an address's counters are kept.
    #[must_use]
    pub fn address_name(&self, budget_key: &str) -> Name {
        self.name(Use::Address, budget_key)
    }

    /// The name under which a client's counter is kept.
    #[must_use]
    pub fn client_name(&self, client: &str) -> Name {
        self.name(Use::Client, client)
    }

    /// Two numbers with which a session's place is hidden in its id.
    #[must_use]
    pub fn veil(&self) -> [u64; 2] {
        let hash = self.hash(Use::Veil, &[]);
        let half = |at: usize| hash[at..].first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        [half(0), half(8)]
    }

    fn name(&self, purpose: Use, text: &str) -> Name {
        let hash = self.hash(purpose, &[text.as_bytes()]);
        *hash.first_chunk().unwrap_or(&[0; 16])
    }

    /// Every use hashes fields of fixed lengths, or one field only: no two inputs run together.
    fn hash(&self, purpose: Use, fields: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(&[purpose as u8]);
        for field in fields {
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Takes a number below `10^digits` from uniform draws of 64 bits, each number equally likely: draws
/// beyond the largest multiple of `10^digits` are rejected, since folding them in would favour the
/// low codes.
fn sample(digits: u8, mut draw: impl FnMut() -> u64) -> u64 {
    let codes = 10_u64.pow(u32::from(digits));
    let excess = (u64::MAX % codes + 1) % codes;
    loop {
        let number = draw();
        if number <= u64::MAX - excess {
            return number % codes;
        }
    }
}

/// A code on its way into a mail: what it is computed from, so that its digits exist nowhere but
/// where they are written. It cannot be printed.
#[derive(Clone, Copy)]
pub struct SealedCode<'k> {
    key: &'k Key,
    nonce: &'k Nonce,
    digits: u8,
}

impl SealedCode<'_> {
    /// How many digits it has.
    #[must_use]
    pub fn digits(&self) -> usize {
        usize::from(self.digits)
    }

    /// Writes its ASCII digits behind `out`, which its owner must wipe. For the mail, and for
    /// nothing else.
    pub fn write(&self, out: &mut Vec<u8>) {
        let number = self.key.number(self.nonce, self.digits);
        for place in (0..u32::from(self.digits)).rev() {
            out.push(b'0' + u8::try_from(number / 10_u64.pow(place) % 10).unwrap_or_default());
        }
    }
}

/// What somebody typed as a code of a certain length. Wiped when dropped; it cannot be printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Typed {
    number: u64,
}

impl Typed {
    /// Reads what a person typed: blanks and hyphens are dropped, as people paste them, and what
    /// is left must be exactly `digits` ASCII digits.
    #[must_use]
    pub fn parse(text: &str, digits: u8) -> Option<Self> {
        let mut typed = Self { number: 0 };
        let mut count = 0;
        for byte in text.bytes().filter(|b| !matches!(b, b' ' | b'-')) {
            if !byte.is_ascii_digit() || count == digits {
                return None;
            }
            typed.number = typed.number * 10 + u64::from(byte - b'0');
            count += 1;
        }
        (count == digits).then_some(typed)
    }
}

impl std::fmt::Debug for SealedCode<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedCode([redacted])")
    }
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed([redacted])")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Seeded;

    fn text(key: &Key, nonce: &Nonce, digits: u8) -> String {
        let mut out = Vec::new();
        key.seal(nonce, digits).write(&mut out);
        String::from_utf8(out).expect("digits")
    }

    fn key() -> Key {
        Key::draw(&mut Seeded::new(7)).expect("a key")
    }

    #[test]
    fn draws_beyond_the_last_whole_round_are_rejected() {
        // 2^64 = 18446744073709 * 10^6 + 551616: the last 551616 draws must not be folded in.
        let last_good = u64::MAX - 551_616;
        let mut script = [u64::MAX, last_good + 1, last_good].into_iter();
        assert_eq!(sample(6, || script.next().expect("no draw beyond the good one")), 999_999);
        assert_eq!(sample(6, || 0), 0);
        // 2^64 = 1844674407 * 10^10 + 3709551616.
        let mut script = [u64::MAX - 3_709_551_615, u64::MAX - 3_709_551_616].into_iter();
        assert_eq!(sample(10, || script.next().expect("two draws")), 9_999_999_999);
    }

    #[test]
    fn a_code_has_its_digits_leading_zeros_and_all() {
        let key = key();
        let mut zeros = 0;
        for number in 0..200_u8 {
            for digits in 6..=10 {
                let code = text(&key, &[number; 16], digits);
                assert_eq!(code.len(), usize::from(digits));
                zeros += u32::from(code.starts_with('0'));
                let typed = Typed::parse(&code, digits).expect("digits");
                assert!(key.opens(&[number; 16], digits, &typed));
            }
        }
        assert!(zeros > 50, "codes with a leading zero are not written");
    }

    #[test]
    fn a_code_is_the_same_again_and_another_sessions_is_not() {
        let key = key();
        assert_eq!(text(&key, &[1; 16], 8), text(&key, &[1; 16], 8));
        assert_ne!(text(&key, &[1; 16], 8), text(&key, &[2; 16], 8));
        let other = Key::draw(&mut Seeded::new(8)).expect("a key");
        assert_ne!(text(&key, &[1; 16], 8), text(&other, &[1; 16], 8));
    }

    #[test]
    fn typed_codes_may_carry_blanks_and_hyphens_and_nothing_else() {
        for right in ["004217", " 004217 ", "004 217", "004-217", "0-0-4 2 1 7"] {
            assert_eq!(Typed::parse(right, 6).map(|typed| typed.number), Some(4217), "{right:?}");
        }
        for wrong in [
            "",
            "00421",
            "0042170",
            "4217",
            "+04217",
            "0x1069",
            "4217.0",
            "00421a",
            "٠٠٤٢١٧",
            "００４２１７",
        ] {
            assert!(Typed::parse(wrong, 6).is_none(), "{wrong:?}");
        }
        assert!(Typed::parse(&"9".repeat(1_000_000), 10).is_none());
    }

    #[test]
    fn only_the_code_itself_opens() {
        let key = key();
        let code: u64 = text(&key, &[3; 16], 6).parse().expect("digits");
        for other in [code ^ 1, (code + 100_000) % 1_000_000, code] {
            let typed = Typed { number: other };
            assert_eq!(key.opens(&[3; 16], 6, &typed), other == code);
        }
    }

    #[test]
    fn neither_a_code_nor_a_key_can_be_printed() {
        let key = key();
        assert_eq!(format!("{:?}", Typed::parse("123456", 6)), "Some(Typed([redacted]))");
        assert_eq!(format!("{:?}", key.seal(&[0; 16], 6)), "SealedCode([redacted])");
        assert_eq!(format!("{key:?}"), "Key([redacted])");
    }

    #[test]
    fn addresses_and_clients_have_names_of_their_own() {
        let key = key();
        assert_ne!(key.address_name("a@x.org"), key.client_name("a@x.org"));
        assert_ne!(key.address_name("a@x.org"), key.address_name("b@x.org"));
    }

    /// Pearson's chi-square against equal counts.
    fn chi_square(counts: &[u32]) -> f64 {
        let total: u32 = counts.iter().sum();
        let expected = f64::from(total) / counts.len() as f64;
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    }

    /// All 10^6 codes are reached, and neither a code nor a digit at any place is favoured. 20
    /// million draws leave a given code out with e^-20, so any of them with 2 in 1,000. The bounds
    /// are five standard deviations above the mean; the seed makes the outcome the same each time.
    #[test]
    fn no_code_is_favoured_or_left_out() {
        let key = key();
        let mut codes = vec![0_u32; 1_000_000];
        let mut digits = [[0_u32; 10]; 6];
        for round in 0..20_000_000_u64 {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&round.to_le_bytes());
            let code = key.number(&nonce, 6);
            codes[usize::try_from(code).expect("small")] += 1;
            for (place, counts) in (0_u32..).zip(&mut digits) {
                counts[usize::try_from(code / 10_u64.pow(place) % 10).expect("a digit")] += 1;
            }
        }
        let freedom = 999_999.0_f64;
        assert!((chi_square(&codes) - freedom).abs() < 5.0 * (2.0 * freedom).sqrt());
        for place in digits {
            assert!(chi_square(&place) < 9.0 + 5.0 * 18.0_f64.sqrt());
        }
        assert!(codes.iter().all(|&n| n > 0), "a code never came");
    }
}
