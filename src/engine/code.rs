//! The code itself: computed under a key whenever it is needed, never kept.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock::{NoRandomness, Random};

/// Digits of the longest code.
const DIGITS_MAX: usize = 10;

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

    /// The code of a session, `digits` long.
    #[must_use]
    pub fn code(&self, nonce: &Nonce, digits: u8) -> Code {
        // A block holds four draws; hardly ever (about once in 10^13 codes) is a second needed.
        let mut block = 0_u8;
        let mut hash = self.hash(Use::Code, &[nonce, &[block]]);
        let mut taken = 0;
        let code = Code::sample(digits, || {
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
        code
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

/// A code of six to ten ASCII digits. It cannot be printed, and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Code {
    digits: [u8; DIGITS_MAX],
    len: u8,
}

impl Code {
    /// Takes a number below `10^digits` from uniform draws of 64 bits, each number equally likely:
    /// draws beyond the largest multiple of `10^digits` are rejected, since folding them in would
    /// favour the low codes.
    fn sample(digits: u8, mut draw: impl FnMut() -> u64) -> Self {
        let codes = 10_u64.pow(u32::from(digits));
        let excess = (u64::MAX % codes + 1) % codes;
        let mut number = loop {
            let number = draw();
            if number <= u64::MAX - excess {
                break number % codes;
            }
        };
        let mut code = Self { digits: [0; DIGITS_MAX], len: digits };
        for digit in code.digits.iter_mut().take(usize::from(digits)).rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        code
    }

    /// Reads what a person typed: blanks and hyphens are dropped, as people paste them, and what
    /// is left must be exactly `digits` ASCII digits.
    #[must_use]
    pub fn typed(text: &str, digits: u8) -> Option<Self> {
        let mut code = Self { digits: [0; DIGITS_MAX], len: digits };
        let mut places = code.digits.iter_mut().take(usize::from(digits));
        for byte in text.bytes().filter(|b| !matches!(b, b' ' | b'-')) {
            let place = places.next()?;
            *place = byte.is_ascii_digit().then_some(byte)?;
        }
        let complete = places.next().is_none();
        complete.then_some(code)
    }

    /// The digits. For the mail, and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }
}

impl ConstantTimeEq for Code {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.digits.ct_eq(&other.digits) & self.len.ct_eq(&other.len)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code([redacted])")
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

    fn text(code: &Code) -> String {
        String::from_utf8(code.reveal().to_vec()).expect("digits")
    }

    fn key() -> Key {
        Key::draw(&mut Seeded::new(7)).expect("a key")
    }

    #[test]
    fn draws_beyond_the_last_whole_round_are_rejected() {
        // 2^64 = 18446744073709 * 10^6 + 551616: the last 551616 draws must not be folded in.
        let last_good = u64::MAX - 551_616;
        let mut script = [u64::MAX, last_good + 1, last_good].into_iter();
        let code = Code::sample(6, || script.next().expect("no draw beyond the good one"));
        assert_eq!(text(&code), "999999");
        let mut script = [0].into_iter();
        assert_eq!(text(&Code::sample(6, || script.next().expect("one draw"))), "000000");
        // 2^64 = 1844674407 * 10^10 + 3709551616.
        let mut script = [u64::MAX - 3_709_551_615, u64::MAX - 3_709_551_616].into_iter();
        assert_eq!(text(&Code::sample(10, || script.next().expect("two"))), "9999999999");
    }

    #[test]
    fn leading_zeros_are_kept_at_every_length() {
        for digits in 6..=10 {
            assert_eq!(
                text(&Code::sample(digits, || 42)),
                format!("{:0>1$}", 42, usize::from(digits))
            );
        }
    }

    #[test]
    fn a_code_is_the_same_again_and_another_sessions_is_not() {
        let key = key();
        assert_eq!(text(&key.code(&[1; 16], 8)), text(&key.code(&[1; 16], 8)));
        assert_ne!(text(&key.code(&[1; 16], 8)), text(&key.code(&[2; 16], 8)));
        let other = Key::draw(&mut Seeded::new(8)).expect("a key");
        assert_ne!(text(&key.code(&[1; 16], 8)), text(&other.code(&[1; 16], 8)));
    }

    #[test]
    fn typed_codes_may_carry_blanks_and_hyphens_and_nothing_else() {
        for right in ["004217", " 004217 ", "004 217", "004-217", "0-0-4 2 1 7"] {
            let code = Code::typed(right, 6).expect(right);
            assert_eq!(text(&code), "004217");
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
            assert!(Code::typed(wrong, 6).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn equal_codes_compare_equal_and_no_others() {
        let code = |text: &str| Code::typed(text, 6).expect("six digits");
        assert!(bool::from(code("123456").ct_eq(&code("123 456"))));
        assert!(!bool::from(code("123456").ct_eq(&code("123457"))));
        assert!(!bool::from(code("123456").ct_eq(&code("023456"))));
    }

    #[test]
    fn neither_a_code_nor_a_key_can_be_printed() {
        assert_eq!(format!("{:?}", Code::typed("123456", 6)), "Some(Code([redacted]))");
        assert_eq!(format!("{:?}", key()), "Key([redacted])");
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
            let code = key.code(&nonce, 6);
            let value = code.reveal().iter().fold(0, |value, d| value * 10 + usize::from(d - b'0'));
            codes[value] += 1;
            for (place, digit) in code.reveal().iter().enumerate() {
                digits[place][usize::from(digit - b'0')] += 1;
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
