//! Records in numbered places, and names that lead to them: tables of millions that never stop to
//! grow.
//!
//! A plain hash map copies itself when it is full, which at a million entries takes 132 ms and at
//! ten million 2.4 s (measured on two shared virtual cores). Here records lie in chunks that never
//! move, and the index over names is many small maps of which one grows at a time.

use hashbrown::HashTable;

use super::code::Name;

/// The number of a record's place. A place is used again when its record is gone.
pub type Slot = u32;

/// Records of a chunk. Of its 5 MB for sessions only what is used takes memory, and the one page that
/// a chunk wastes does not count.
const CHUNK: usize = 65_536;

/// Maps of an index. With ten million names the largest growth moves about 14,000.
///
/// A map doubles at 7/8 of a power of two, and all of them at about the same time. With so many, a
/// million names (the default capacity) stay just below that: 6.2 bytes a name, where with 4,096
/// maps they had just doubled and took 10.5.
const SHARDS: usize = 600;

/// Records in numbered places.
#[derive(Debug)]
pub struct Table<R> {
    chunks: Vec<Vec<R>>,
    free: Vec<Slot>,
    len: usize,
}

impl<R: Default> Table<R> {
    /// An empty table; it takes memory as it fills.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Records in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The record at `slot`, if that place was ever used. An emptied place holds the default.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&R> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)
    }

    /// As [`Table::at`], to be changed.
    #[must_use]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut R> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }

    /// Puts a record into an empty place.
    pub fn insert(&mut self, record: R) -> Slot {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.at_mut(slot) {
                *place = record;
            }
            return slot;
        }
        let slot = self.places();
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(record);
        }
        slot
    }

    /// Empties a place.
    pub fn remove(&mut self, slot: Slot) {
        if let Some(place) = self.at_mut(slot) {
            *place = R::default();
            self.free.push(slot);
            self.len -= 1;
        }
    }

    /// Places that were ever used. Policy bounds keep them below 2^32.
    fn places(&self) -> Slot {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        Slot::try_from(full + self.chunks.last().map_or(0, Vec::len)).unwrap_or(Slot::MAX)
    }
}

/// A record that knows its name.
pub trait Named {
    /// The name, uniformly distributed.
    fn name(&self) -> &Name;
}

/// Records found by name.
#[derive(Debug)]
pub struct Roll<R> {
    records: Table<R>,
    shards: Vec<HashTable<Slot>>,
}

impl<R: Default + Named> Roll<R> {
    /// An empty roll.
    #[must_use]
    pub fn new() -> Self {
        Self { records: Table::new(), shards: vec![HashTable::new(); SHARDS] }
    }

    /// Records in the roll.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Where the record of this name is.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<Slot> {
        let is_it =
            |slot: &Slot| self.records.at(*slot).is_some_and(|record| record.name() == name);
        self.shards[shard_of(name)].find(hash_of(name), is_it).copied()
    }

    /// The record at `slot`.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&R> {
        self.records.at(slot)
    }

    /// As [`Roll::at`], to be changed.
    #[must_use]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut R> {
        self.records.at_mut(slot)
    }

    /// The records by themselves, for the wheel that runs through them.
    #[must_use]
    pub const fn records_mut(&mut self) -> &mut Table<R> {
        &mut self.records
    }

    /// Adds a record whose name is not in the roll.
    pub fn insert(&mut self, record: R) -> Slot {
        let (shard, hash) = (shard_of(record.name()), hash_of(record.name()));
        let slot = self.records.insert(record);
        let records = &self.records;
        let rehash = |slot: &Slot| records.at(*slot).map_or(0, |record| hash_of(record.name()));
        self.shards[shard].insert_unique(hash, slot, rehash);
        slot
    }

    /// Removes the record at `slot`.
    pub fn remove(&mut self, slot: Slot) {
        let Some(name) = self.records.at(slot).map(|record| *record.name()) else {
            return;
        };
        if let Ok(entry) = self.shards[shard_of(&name)].find_entry(hash_of(&name), |s| *s == slot) {
            entry.remove();
            self.records.remove(slot);
        }
    }
}

/// Names are keyed hashes already: their first bits choose the shard, others the place in it.
fn shard_of(name: &Name) -> usize {
    let bits = name.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    bits as usize % SHARDS
}

fn hash_of(name: &Name) -> u64 {
    name[4..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Card(Name);

    impl Named for Card {
        fn name(&self) -> &Name {
            &self.0
        }
    }

    fn name(number: u64) -> Name {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        name[8..].copy_from_slice(&number.to_le_bytes());
        name
    }

    #[test]
    fn records_stay_where_they_were_put_and_places_are_used_again() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (0..10_000_u32).map(|n| table.insert(n + 1)).collect();
        assert!(slots.iter().all(|&slot| table.at(slot) == Some(&(slot + 1))));
        table.remove(17);
        assert_eq!((table.at(17), table.len()), (Some(&0), 9_999));
        assert_eq!((table.insert(5), table.insert(6)), (17, 10_000));
        assert_eq!(table.at(10_001), None);
    }

    #[test]
    fn names_lead_to_their_records_until_these_are_removed() {
        let mut roll = Roll::new();
        for number in 0..100_000 {
            roll.insert(Card(name(number)));
        }
        for number in (0..100_000).step_by(3) {
            let slot = roll.find(&name(number)).expect("it was put in");
            roll.remove(slot);
        }
        for number in 0..100_001 {
            let found = roll.find(&name(number)).and_then(|slot| roll.at(slot));
            let expected = (number % 3 != 0 && number < 100_000).then(|| Card(name(number)));
            assert_eq!(found, expected.as_ref());
        }
        assert_eq!(roll.len(), 66_666);
    }
}
