// SPDX-License-Identifier: Apache-2.0
//! Memory that httpd's parent, its children and the supervisor share with each other and with no
//! daemon process: which child has which block, and which serials are used. What decides must not
//! stand where an application could write; the groups' own memory has copies and hints only.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::os::memory::SharedMemory;
use crate::os::process;

/// Claims of blocks, and counters of serials.
#[derive(Debug)]
pub(crate) struct Claims {
    /// A word for each block (process id of its child, 0 for nobody), another one (the id of the child
    /// that has said that it stops), then one for each group (the serial that was given out last). The
    /// descriptor is closed on exec and passed to nobody.
    memory: SharedMemory,
    /// Blocks.
    blocks: usize,
}

impl Claims {
    /// For so many children and groups.
    pub(crate) fn new(blocks: u32, groups: usize) -> io::Result<Self> {
        let blocks = blocks as usize;
        Ok(Self { memory: SharedMemory::new((2 * blocks + groups).max(1))?, blocks })
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u32 {
        u32::try_from(self.blocks).unwrap_or(u32::MAX)
    }

    fn owners(&self) -> &[AtomicU32] {
        self.memory.words().get(..self.blocks).unwrap_or_default()
    }

    /// Takes a free block, or one whose owner is gone.
    pub(crate) fn take(&self, pid: u32) -> Option<u32> {
        let take = |block: &AtomicU32, from: u32| {
            block.compare_exchange(from, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let blocks = self.owners();
        let free = blocks.iter().position(|block| take(block, 0));
        let found = free.or_else(|| {
            blocks.iter().position(|block| {
                let owner = block.load(Ordering::Acquire);
                owner != 0 && !process::exists(owner) && take(block, owner)
            })
        });
        found.and_then(|block| u32::try_from(block).ok())
    }

    /// Owner of a block; 0 for nobody, or no such block.
    pub(crate) fn owner(&self, block: u32) -> u32 {
        self.owners().get(block as usize).map_or(0, |owner| owner.load(Ordering::Acquire))
    }

    /// The child that has the block stops without waiting for its requests.
    pub(crate) fn stop(&self, block: u32, pid: u32) {
        if let Some(stopping) = self.stopping(block) {
            stopping.store(pid, Ordering::Release);
        }
    }

    /// Whether the owner of a block has said that it stops.
    pub(crate) fn is_stopping(&self, block: u32) -> bool {
        let owner = self.owner(block);
        owner != 0 && self.stopping(block).is_some_and(|pid| pid.load(Ordering::Acquire) == owner)
    }

    fn stopping(&self, block: u32) -> Option<&AtomicU32> {
        self.memory.words().get(self.blocks..2 * self.blocks)?.get(block as usize)
    }

    /// Frees a block that this process has.
    pub(crate) fn release(&self, block: u32, pid: u32) {
        if let Some(owner) = self.owners().get(block as usize) {
            let _ = owner.compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// A serial that no process of the group had in this generation; never 0.
    pub(crate) fn next_serial(&self, group: usize) -> u32 {
        let counter = self.memory.words().get(2 * self.blocks + group);
        counter.map_or(1, |counter| counter.fetch_add(1, Ordering::AcqRel).wrapping_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_once_and_those_of_the_dead_again() {
        let claims = Claims::new(2, 1).unwrap();
        let own = process::own_pid();
        assert_eq!(
            (claims.take(own), claims.take(own), claims.take(own)),
            (Some(0), Some(1), None)
        );
        claims.release(1, own + 1);
        assert_eq!(claims.owner(1), own);
        claims.release(1, own);
        // No process has this id: it is beyond the kernel's limit.
        assert_eq!(claims.take(1 << 29), Some(1));
        assert_eq!(claims.take(own), Some(1));
        assert_eq!((claims.owner(0), claims.owner(7)), (own, 0));
    }

    #[test]
    fn a_child_that_stops_says_so_for_itself_alone() {
        let claims = Claims::new(2, 1).unwrap();
        let own = process::own_pid();
        assert!(!claims.is_stopping(0) && !claims.is_stopping(7));
        let block = claims.take(own).unwrap();
        claims.stop(block, own);
        assert!(claims.is_stopping(block) && !claims.is_stopping(1));
        claims.release(block, own);
        assert!(!claims.is_stopping(block));
        assert_eq!(claims.take(own + 1), Some(block));
        assert!(!claims.is_stopping(block));
        assert_eq!(claims.next_serial(0), 1);
    }

    #[test]
    fn serials_are_counted_by_group() {
        let claims = Claims::new(1, 2).unwrap();
        assert_eq!(
            (claims.next_serial(0), claims.next_serial(0), claims.next_serial(1)),
            (1, 2, 1)
        );
    }
}
