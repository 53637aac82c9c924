//! Pages that are cut into slots of one size, and what is known of each.

use std::alloc::Layout;
use std::ptr::NonNull;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Words with a bit for each of the smallest slots.
const WORDS: usize = PAGE / Class::STEP / 64;

/// A size of slots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Class(u8);

impl Class {
    /// Slots are multiples of this, and begin at multiples of it.
    pub(super) const STEP: usize = 16;
    /// How many there are: of the largest slots a page has two.
    pub(super) const COUNT: usize = PAGE / 2 / Self::STEP;

    /// Returns the smallest size that fits; none for what is large, or aligned to more than a slot.
    pub(super) fn of(layout: Layout) -> Option<Self> {
        let index = layout.size().div_ceil(Self::STEP).saturating_sub(1);
        let fits = index < Self::COUNT && layout.align() <= Self::STEP;
        u8::try_from(index).ok().filter(|_| fits).map(Self)
    }

    #[cfg(test)]
    pub(super) fn for_size(size: usize) -> Self {
        Self::of(Layout::from_size_align(size, 1).unwrap()).unwrap()
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }

    pub(super) fn size(self) -> usize {
        (self.index() + 1) * Self::STEP
    }
}

/// What is known of a page.
pub(super) struct Page {
    /// Which slots are taken, a bit each; those that the page has no room for count as taken.
    taken: [u64; WORDS],
    previous: Option<NonNull<Page>>,
    next: Option<NonNull<Page>>,
    used: u16,
    slots: u16,
    class: Class,
}

impl Page {
    pub(super) fn new(class: Class) -> Self {
        let slots = PAGE / class.size();
        let beyond = |word: usize| match slots.saturating_sub(word * 64) {
            free @ 0..64 => u64::MAX << free,
            _ => 0,
        };
        let taken = std::array::from_fn(beyond);
        Self { taken, previous: None, next: None, used: 0, slots: slots as u16, class }
    }

    pub(super) fn is_full(&self) -> bool {
        self.used == self.slots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Takes the first slot that is free, of which there is one; returns its offset on the page.
    pub(super) fn take(&mut self) -> usize {
        for (word, bits) in self.taken.iter_mut().enumerate() {
            let bit = bits.trailing_ones() as usize;
            if bit < 64 {
                *bits |= 1 << bit;
                self.used += 1;
                return (word * 64 + bit) * self.class.size();
            }
        }
        std::process::abort()
    }

    /// Frees the slot at `offset` of the page; tells whether there was one of that class, and taken.
    pub(super) fn put_back(&mut self, class: Class, offset: usize) -> bool {
        let (slot, beside) = (offset / class.size(), offset % class.size());
        if class != self.class || beside != 0 || slot >= usize::from(self.slots) {
            return false;
        }
        let (bits, bit) = (&mut self.taken[slot / 64], 1 << (slot % 64));
        if *bits & bit == 0 {
            return false;
        }
        *bits &= !bit;
        self.used -= 1;
        true
    }
}

/// Pages in a row, each in one list at most.
pub(super) struct List {
    pub(super) first: Option<NonNull<Page>>,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { first: None }
    }

    pub(super) fn has_only(&self, page: NonNull<Page>) -> bool {
        // SAFETY: books stay for ever, and are looked at with the lists alone.
        self.first == Some(page) && unsafe { page.as_ref() }.next.is_none()
    }

    pub(super) fn last(&self) -> Option<NonNull<Page>> {
        // SAFETY: as above.
        std::iter::successors(self.first, |page| unsafe { page.as_ref() }.next).last()
    }

    pub(super) fn add(&mut self, mut page: NonNull<Page>) {
        // SAFETY: as above, and the two are not the same.
        unsafe {
            page.as_mut().previous = None;
            page.as_mut().next = self.first;
            if let Some(mut first) = self.first {
                first.as_mut().previous = Some(page);
            }
        }
        self.first = Some(page);
    }

    pub(super) fn remove(&mut self, page: NonNull<Page>) {
        // SAFETY: as above; its neighbours are others.
        unsafe {
            let (previous, next) = (page.as_ref().previous, page.as_ref().next);
            match previous {
                Some(mut previous) => previous.as_mut().next = next,
                None => self.first = next,
            }
            if let Some(mut next) = next {
                next.as_mut().previous = previous;
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<NonNull<Page>> {
        let page = self.first?;
        self.remove(page);
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_as_large_as_what_is_in_it_and_not_much_larger() {
        for size in 1..=2048 {
            let slot = Class::for_size(size).size();
            assert!(slot >= size && slot < size + 16, "{size}: {slot}");
        }
        for (size, align) in [(2049, 1), (16, 32)] {
            assert_eq!(Class::of(Layout::from_size_align(size, align).unwrap()), None);
        }
        assert!(Class::of(Layout::from_size_align(16, 16).unwrap()).is_some());
    }

    #[test]
    fn a_page_is_used_up_and_nothing_of_it_is_given_back_twice() {
        for size in [16, 48, 352, 1360, 2048] {
            let class = Class::for_size(size);
            let mut page = Page::new(class);
            let taken: Vec<usize> = (0..PAGE / size).map(|_| page.take()).collect();
            assert!(page.is_full() && taken.iter().copied().eq((0..PAGE / size).map(|slot| slot * size)));
            assert!(page.put_back(class, size) && !page.put_back(class, size), "{size}: twice");
            assert!(!page.put_back(class, 8) && !page.put_back(class, PAGE), "{size}: where no slot begins");
            assert!(!page.put_back(Class((size / 16 % 128) as u8), 0), "{size}: as another size");
            assert_eq!(page.take(), size);
        }
    }
}
