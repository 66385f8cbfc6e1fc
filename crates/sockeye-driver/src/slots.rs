//! Connections by number. A number is used again, its generation is not: an id that outlived its
//! connection finds nothing.

use crate::prefetch::prefetch;

/// A connection of one driver, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// As one number, to pass through the kernel.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// What [`to_bits`](Self::to_bits) made a number of.
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }

    const fn at(self) -> usize {
        self.index as usize
    }
}

const NONE: u32 = u32::MAX;
/// A page at most; what fills one, or three quarters, allocators give without rounding up.
const PAGE_BYTES: usize = 8 << 10;

/// A table that grows by a page at a time: nothing moves when it grows, so a million connections
/// cause neither a pause nor a second million in reserve.
#[derive(Debug)]
struct Pages<T> {
    pages: Vec<Box<[T]>>,
}

impl<T> Pages<T> {
    const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// A power of two, so that finding a place is a shift and not a division.
    const PER_PAGE: usize = {
        let fit = PAGE_BYTES / size_of::<T>();
        if fit == 0 { 1 } else { 1 << fit.ilog2() }
    };

    fn len(&self) -> usize {
        self.pages.len() * Self::PER_PAGE
    }

    fn grow(&mut self, empty: impl FnMut() -> T) {
        self.pages.push(std::iter::repeat_with(empty).take(Self::PER_PAGE).collect());
    }

    #[inline]
    fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / Self::PER_PAGE)?.get(at % Self::PER_PAGE)
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pages.get_mut(at / Self::PER_PAGE)?.get_mut(at % Self::PER_PAGE)
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        if let Some(value) = self.get(at) {
            prefetch(value);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The next free slot, where this one is free.
    next_free: u32,
    value: Option<T>,
}

/// Gives out ids and keeps a value for each.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Pages<Slot<T>>,
    /// How many slots have ever been used.
    used: u32,
    free: u32,
    len: usize,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Pages::new(), used: 0, free: NONE, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        let index = if self.free == NONE { self.used } else { self.free };
        if index as usize == self.slots.len() {
            self.slots.grow(|| Slot { generation: 0, next_free: NONE, value: None });
        }
        let slot = self.slots.get_mut(index as usize).expect("a page was added for it");
        if self.free == NONE {
            self.used += 1;
        } else {
            self.free = slot.next_free;
        }
        slot.value = Some(value);
        self.len += 1;
        ConnId { index, generation: slot.generation }
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slots.get(id.at()).filter(|slot| slot.generation == id.generation)?;
        slot.value.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.at()).filter(|slot| slot.generation == id.generation)?;
        slot.value.as_mut()
    }

    /// It will be asked for soon.
    #[inline]
    pub(crate) fn expect(&self, id: ConnId) {
        self.slots.prefetch(id.at());
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        let slot = self.slots.get_mut(id.at()).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = id.index;
        self.len -= 1;
        Some(value)
    }
}

/// Values kept beside a driver's connections, under the driver's ids.
#[derive(Debug)]
pub struct SideTable<T> {
    entries: Pages<Option<(u32, T)>>,
    len: usize,
}

impl<T> Default for SideTable<T> {
    fn default() -> Self {
        Self { entries: Pages::new(), len: 0 }
    }
}

impl<T> SideTable<T> {
    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a value; one of an earlier connection with this number is dropped.
    pub fn insert(&mut self, id: ConnId, value: T) {
        while id.at() >= self.entries.len() {
            self.entries.grow(|| None);
        }
        let entry = self.entries.get_mut(id.at()).expect("pages were added for it");
        if entry.replace((id.generation, value)).is_none() {
            self.len += 1;
        }
    }

    /// The value of this connection.
    #[inline]
    pub fn get(&self, id: ConnId) -> Option<&T> {
        match self.entries.get(id.at()) {
            Some(Some((generation, value))) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The value of this connection.
    #[inline]
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.entries.get_mut(id.at()) {
            Some(Some((generation, value))) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The value of this connection will be asked for soon: it is brought into cache meanwhile.
    #[inline]
    pub fn expect(&self, id: ConnId) {
        self.entries.prefetch(id.at());
    }

    /// Takes the value of this connection out.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.at())?;
        let (_, value) = entry.take_if(|(generation, _)| *generation == id.generation)?;
        self.len -= 1;
        Some(value)
    }

    /// The ids of all connections that have a value.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let (generation, _) = entry.as_ref()?;
            Some(ConnId { index: index as u32, generation: *generation })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_id_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_ne!(first, second);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.len(), 1);
        assert_eq!(ConnId::from_bits(second.to_bits()), second);
    }

    #[test]
    fn freed_numbers_are_used_again() {
        let mut slots = Slots::new();
        let ids: Vec<_> = (0..100).map(|n| slots.insert(n)).collect();
        for id in &ids[20..40] {
            slots.remove(*id);
        }
        for n in 0..20 {
            assert!(slots.insert(n).at() < 100);
        }
        assert_eq!(slots.insert(0).at(), 100);
    }

    #[test]
    fn a_side_table_checks_the_generation() {
        let mut slots = Slots::new();
        let mut table = SideTable::default();
        let first = slots.insert(());
        table.insert(first, 1);
        slots.remove(first);
        let second = slots.insert(());
        assert_eq!(table.get(second), None);
        assert_eq!(table.remove(second), None);
        table.insert(second, 2);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(second), Some(&mut 2));
        assert_eq!(table.ids().collect::<Vec<_>>(), [second]);
        assert_eq!((table.remove(second), table.len()), (Some(2), 0));
    }

    #[test]
    fn tables_grow_by_a_page_and_nothing_moves() {
        let mut table = SideTable::default();
        let mut slots = Slots::new();
        let first = slots.insert(0);
        let at = std::ptr::from_ref(slots.get(first).unwrap());
        for n in 0..100_000 {
            table.insert(slots.insert(n), n);
        }
        assert_eq!(std::ptr::from_ref(slots.get(first).unwrap()), at);
        assert!(slots.slots.len() < 101_000 && table.entries.len() < 103_000);
        assert_eq!((slots.len(), table.len(), table.ids().count()), (100_001, 100_000, 100_000));
    }
}
