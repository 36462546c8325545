//! What falls due when, without a scan and without a pause.
//!
//! A wheel of one bucket a second, each the head of a list that runs through the records
//! themselves. Nothing is ever taken out early: a record that ended before its time is simply
//! found ended when its turn comes.

use super::table::{Slot, Table};
use crate::clock::{Moment, secs_up};

/// Buckets, so seconds of the wheel: 36 hours, more than anything here waits (24 h and 10 min).
/// The memory of a bucket is touched only when it is used.
const SPAN: u64 = 1 << 17;

/// Empty seconds that one call passes at the most.
const STRIDE: u64 = 4_096;

/// A link of a list through records: one more than a slot, or 0 at the end.
pub type Link = u32;

/// A record that can wait in a wheel.
pub trait Linked {
    /// The link to the next record of the same second.
    fn link(&mut self) -> &mut Link;
}

/// Records of one table, by the second in which they fall due.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Link>,
    /// The first second whose bucket may hold something.
    second: u64,
    waiting: usize,
}

impl Wheel {
    /// An empty wheel.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: vec![0; usize::try_from(SPAN).unwrap_or(0)], second: 0, waiting: 0 }
    }

    /// Lets the record at `slot` fall due at `due`: up to a second late, and, while the wheel lags
    /// behind by hours, perhaps early. Whoever takes it out looks at the record's own time.
    pub fn add<R: Default + Linked>(&mut self, slot: Slot, due: Moment, table: &mut Table<R>) {
        let second = secs_up(Moment::START.until(due)).clamp(self.second, self.second + SPAN - 1);
        let Some(record) = table.at_mut(slot) else {
            return;
        };
        *record.link() = std::mem::replace(&mut self.buckets[bucket(second)], slot + 1);
        self.waiting += 1;
    }

    /// Takes out one record that is due; none if nothing is, or after [`STRIDE`] empty seconds.
    pub fn pop<R: Default + Linked>(&mut self, now: Moment, table: &mut Table<R>) -> Option<Slot> {
        let current = Moment::START.until(now).as_secs();
        if self.waiting == 0 {
            self.second = self.second.max(current);
            return None;
        }
        // One lap finds everything, however long nobody looked.
        self.second = self.second.max((current + 1).saturating_sub(SPAN));
        let last = current.min(self.second + STRIDE);
        while self.second <= last {
            let head = &mut self.buckets[bucket(self.second)];
            if let Some(slot) = head.checked_sub(1) {
                *head = table.at_mut(slot).map_or(0, |record| std::mem::take(record.link()));
                self.waiting -= 1;
                return Some(slot);
            }
            if self.second == current {
                break;
            }
            self.second += 1;
        }
        None
    }

    /// Whether everything that is due has been taken out.
    #[must_use]
    pub fn is_caught_up(&self, now: Moment) -> bool {
        let current = Moment::START.until(now).as_secs();
        self.waiting == 0 || (self.second == current && self.buckets[bucket(current)] == 0)
    }

    /// Whether anything waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

fn bucket(second: u64) -> usize {
    usize::try_from(second % SPAN).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Waiting(Link);

    impl Linked for Waiting {
        fn link(&mut self) -> &mut Link {
            &mut self.0
        }
    }

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1_000)
    }

    /// Everything that comes out by `now`, however many calls that takes.
    fn due(wheel: &mut Wheel, now: Moment, table: &mut Table<Waiting>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while !wheel.is_caught_up(now) {
            slots.extend(wheel.pop(now, table));
        }
        slots.sort_unstable();
        slots
    }

    #[test]
    fn records_come_out_when_they_are_due_and_not_before() {
        let (mut wheel, mut table) = (Wheel::new(), Table::new());
        for secs in [5, 5, 5, 90_000, 1] {
            let slot = table.insert(Waiting::default());
            wheel.add(slot, at(secs), &mut table);
        }
        assert_eq!(due(&mut wheel, at(0), &mut table), Vec::<Slot>::new());
        assert_eq!(due(&mut wheel, at(4), &mut table), [4]);
        assert_eq!(due(&mut wheel, Moment::from_millis(4_999), &mut table), Vec::<Slot>::new());
        assert_eq!(due(&mut wheel, at(5), &mut table), [0, 1, 2]);
        assert_eq!(due(&mut wheel, at(89_999), &mut table), Vec::<Slot>::new());
        assert_eq!(due(&mut wheel, at(90_000), &mut table), [3]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_up() {
        let (mut wheel, mut table) = (Wheel::new(), Table::new());
        let slot = table.insert(Waiting::default());
        wheel.add(slot, Moment::from_millis(1_001), &mut table);
        assert_eq!(due(&mut wheel, Moment::from_millis(1_999), &mut table), Vec::<Slot>::new());
        assert_eq!(due(&mut wheel, at(2), &mut table), [slot]);
    }

    #[test]
    fn after_years_of_silence_one_lap_finds_everything() {
        let (mut wheel, mut table) = (Wheel::new(), Table::new());
        for secs in 0..100 {
            let slot = table.insert(Waiting::default());
            wheel.add(slot, at(secs * 1_300), &mut table);
        }
        let now = at(1_000_000_000);
        let mut calls = 0;
        let mut found = 0;
        while !wheel.is_caught_up(now) {
            calls += 1;
            found += usize::from(wheel.pop(now, &mut table).is_some());
        }
        assert_eq!(found, 100);
        assert!(calls < 200, "{calls} calls");
        let slot = table.insert(Waiting::default());
        wheel.add(slot, at(1_000_000_600), &mut table);
        assert_eq!(due(&mut wheel, at(1_000_000_599), &mut table), Vec::<Slot>::new());
        assert_eq!(due(&mut wheel, at(1_000_000_600), &mut table), [slot]);
    }
}
