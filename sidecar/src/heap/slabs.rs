//! Hands out slots of pages, and takes them back.

use std::ptr::{self, NonNull};

use rustix::mm::{Advice, madvise};

use super::page::{Class, List, PAGE, Page};
use super::region::Region;
use crate::footprint::page_size;

/// All pages with small things.
pub(super) struct Slabs {
    /// For each class the pages that have room.
    open: [List; Class::COUNT],
    /// Pages with nothing on them.
    empty: List,
    /// Pages that the kernel has; it gives one, of zeros, to whoever writes there.
    bare: List,
}

// SAFETY: its pages are reached by it alone, and by whoever has a slot of theirs.
unsafe impl Send for Slabs {}

impl Slabs {
    pub(super) const fn new() -> Self {
        Self { open: [const { List::new() }; Class::COUNT], empty: List::new(), bare: List::new() }
    }

    /// Takes a slot, which nobody else has; null where the kernel has no more memory.
    pub(super) fn take(&mut self, class: Class) -> *mut u8 {
        let Some(mut page) = self.open[class.index()].first.or_else(|| self.open_page(class)) else {
            return ptr::null_mut();
        };
        let place = Region::place(page);
        // SAFETY: books stay for ever, and are looked at with `self` alone.
        let books = unsafe { page.as_mut() };
        let offset = books.take();
        if books.is_full() {
            self.open[class.index()].remove(page);
        }
        // SAFETY: a page has all of its slots.
        unsafe { place.add(offset) }
    }

    /// Takes a slot back. A program that gives back what it does not have is ended: its memory is not what it thinks.
    ///
    /// # Safety
    /// It was taken as one of that class, and is not used any more.
    pub(super) unsafe fn put_back(&mut self, memory: *mut u8, class: Class) {
        let (mut page, offset) = Region::page(memory);
        // SAFETY: as above.
        let books = unsafe { page.as_mut() };
        let was_full = books.is_full();
        if !books.put_back(class, offset) {
            std::process::abort();
        }
        let is_empty = books.is_empty();
        let open = &mut self.open[class.index()];
        if was_full {
            open.add(page);
        }
        // The last page of a class stays: its next slot is taken soon.
        if is_empty && !open.has_only(page) {
            open.remove(page);
            self.empty.add(page);
        }
    }

    /// Gives the pages back to the kernel that nothing is on. Nothing is given back where the kernel's pages are larger than these.
    pub(super) fn give_back(&mut self) {
        if page_size() > PAGE {
            return;
        }
        for open in &mut self.open {
            // Where one of a class is open and empty, it is the one that was there first.
            // SAFETY: as above.
            if let Some(page) = open.last().filter(|page| unsafe { page.as_ref() }.is_empty()) {
                open.remove(page);
                self.empty.add(page);
            }
        }
        while let Some(page) = self.empty.pop() {
            // SAFETY: nobody has anything of the page.
            unsafe { madvise(Region::place(page).cast(), PAGE, Advice::LinuxDontNeed) }.ok();
            self.bare.add(page);
        }
    }

    fn open_page(&mut self, class: Class) -> Option<NonNull<Page>> {
        let page = match self.empty.pop().or_else(|| self.bare.pop()) {
            Some(page) => page,
            None => {
                Region::map(&mut self.bare)?;
                self.bare.pop()?
            }
        };
        // SAFETY: as above; it is in no list.
        unsafe { page.write(Page::new(class)) };
        self.open[class.index()].add(page);
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_that_nothing_is_on_are_given_back() {
        let mut slabs = Slabs::new();
        let taken = [16, 48, 352, 2048].map(|size| {
            let class = Class::for_size(size);
            (0..300).map(|_| (slabs.take(class), class)).collect::<Vec<_>>()
        });
        let all: Vec<_> = taken.into_iter().flatten().collect();
        let (kept, _) = all[0];
        for (memory, class) in &all {
            // SAFETY: it has as many bytes, and is used no more when it is put back.
            unsafe {
                memory.write_bytes(1, class.size());
                if *memory != kept {
                    slabs.put_back(*memory, *class);
                }
            }
        }
        slabs.give_back();
        let is_open = |slabs: &Slabs, index: usize| slabs.open[index].first.is_some();
        let open: Vec<usize> = (0..Class::COUNT).filter(|index| is_open(&slabs, *index)).collect();
        let are_larger = page_size() > PAGE;
        assert!(are_larger || open == [0] && slabs.empty.first.is_none(), "{open:?}");
        for (memory, _) in all {
            // SAFETY: pages stay mapped.
            let byte = unsafe { memory.read() };
            assert_eq!(byte == 1, are_larger || memory.addr() / PAGE == kept.addr() / PAGE);
        }
    }

    #[test]
    fn the_last_page_of_a_class_is_given_back_from_behind_others() {
        let (mut slabs, large) = (Slabs::new(), Class::for_size(2048));
        let [a, b, c, _] = [(); 4].map(|()| slabs.take(large));
        for memory in [a, b, c] {
            // SAFETY: it is used no more.
            unsafe { slabs.put_back(memory, large) };
        }
        slabs.give_back();
        let open = &slabs.open[large.index()];
        assert!(page_size() > PAGE || open.first.is_some() && open.first == open.last());
    }

    proptest! {
        #[test]
        fn nobody_has_what_another_has(steps in prop::collection::vec((0_u8..8, 1_usize..=2048, any::<usize>()), 1..600)) {
            let mut slabs = Slabs::new();
            let mut held: BTreeMap<usize, (*mut u8, usize, u8)> = BTreeMap::new();
            for (number, (kind, size, pick)) in steps.into_iter().enumerate() {
                match kind {
                    0 => slabs.give_back(),
                    1..=3 if !held.is_empty() => {
                        let key = *held.keys().nth(pick % held.len()).unwrap();
                        let (memory, size, mark) = held.remove(&key).unwrap();
                        // SAFETY: it is held.
                        let bytes = unsafe { std::slice::from_raw_parts(memory, size) };
                        prop_assert!(bytes.iter().all(|byte| *byte == mark), "somebody wrote there");
                        // SAFETY: it was taken as one of that class, and is held no more.
                        unsafe { slabs.put_back(memory, Class::for_size(size)) };
                    }
                    _ => {
                        let (memory, mark) = (slabs.take(Class::for_size(size)), number as u8);
                        prop_assert!(!memory.is_null() && memory.addr() % 16 == 0);
                        // SAFETY: it has that many bytes.
                        unsafe { memory.write_bytes(mark, size) };
                        held.insert(memory.addr(), (memory, size, mark));
                    }
                }
            }
            for (start, (memory, size, mark)) in &held {
                prop_assert!(held.range(start + 1..start + size).next().is_none(), "they overlap");
                // SAFETY: it is held.
                let bytes = unsafe { std::slice::from_raw_parts(*memory, *size) };
                prop_assert!(bytes.iter().all(|byte| byte == mark), "somebody wrote there");
            }
        }
    }
}
