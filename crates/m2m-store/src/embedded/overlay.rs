//! `Overlay`: a disk as it is, with what is written to it kept in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;

const BLOCK_BYTES: usize = 4096;

/// Lets redb, which writes a little whenever it opens a file, read from a disk that takes nothing.
#[derive(Debug)]
pub(super) struct Overlay {
    under: Arc<dyn Disk>,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    len: u64,
    // What lies behind is zero unless it was written, whatever the disk below has there.
    kept: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(super) fn new(under: Arc<dyn Disk>) -> io::Result<Self> {
        let len = under.len()?;
        let changed = Changed {
            len,
            kept: len,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            under,
            changed: Mutex::new(changed),
        })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block that begins at `start`, as it would be read.
    fn block(&self, changed: &Changed, start: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = changed.blocks.get(&start) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK_BYTES].into_boxed_slice();
        let there = changed.kept.saturating_sub(start);
        let there = usize::try_from(there).unwrap_or(BLOCK_BYTES);
        match block.get_mut(..there.min(BLOCK_BYTES)) {
            Some(there) if !there.is_empty() => self.under.read(start, there)?,
            _ => {}
        }
        Ok(block)
    }
}

/// The blocks that `length` bytes from `offset` on touch: where each begins, which part of it that
/// is, and which part of the bytes.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK_BYTES as u64).unwrap_or_default();
        let part = (BLOCK_BYTES - within).min(length - done);
        let from = done;
        done += part;
        Some((at - within as u64, within, from, part))
    })
}

fn too_short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Disk for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed().len)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let changed = self.changed();
        if offset.saturating_add(bytes.len() as u64) > changed.len {
            return Err(too_short());
        }
        for (start, within, from, part) in blocks(offset, bytes.len()) {
            let block = self.block(&changed, start)?;
            let source = block.get(within..within + part).ok_or_else(too_short)?;
            let target = bytes.get_mut(from..from + part).ok_or_else(too_short)?;
            target.copy_from_slice(source);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut changed = self.changed();
        for (start, within, from, part) in blocks(offset, bytes.len()) {
            let mut block = self.block(&changed, start)?;
            let source = bytes.get(from..from + part).ok_or_else(too_short)?;
            let target = block.get_mut(within..within + part).ok_or_else(too_short)?;
            target.copy_from_slice(source);
            changed.blocks.insert(start, block);
        }
        changed.len = changed.len.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed();
        if len < changed.len {
            let start = len - len % BLOCK_BYTES as u64;
            let mut last = self.block(&changed, start)?;
            let within = usize::try_from(len - start).unwrap_or_default();
            last.iter_mut().skip(within).for_each(|byte| *byte = 0);
            changed.blocks.retain(|block, _| *block < start);
            changed.blocks.insert(start, last);
            changed.kept = changed.kept.min(len);
        }
        changed.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(Vec<u8>);

    impl Disk for Fixed {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            let offset = usize::try_from(offset).unwrap();
            let there = self.0.get(offset..offset + bytes.len());
            bytes.copy_from_slice(there.ok_or_else(too_short)?);
            Ok(())
        }

        fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
            panic!("nothing is written below");
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            panic!("nothing is written below");
        }

        fn sync(&self) -> io::Result<()> {
            panic!("nothing is written below");
        }
    }

    #[test]
    fn it_reads_as_if_all_had_been_written() {
        let mut expected: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        let overlay = Overlay::new(Arc::new(Fixed(expected.clone()))).unwrap();
        let mut random = 7_usize;
        for turn in 0..2_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let offset = (random >> 33) % 12_000;
            let length = (random >> 20) % 5_000;
            match turn % 4 {
                0 => {
                    expected.resize(offset, 0);
                    overlay.set_len(offset as u64).unwrap();
                }
                1 => {
                    let bytes = vec![turn as u8; length];
                    expected.resize(expected.len().max(offset + length), 0);
                    expected[offset..offset + length].copy_from_slice(&bytes);
                    overlay.write(offset as u64, &bytes).unwrap();
                }
                _ => {
                    let mut read = vec![0; length];
                    let there = expected.get(offset..offset + length);
                    let done = overlay.read(offset as u64, &mut read);
                    assert_eq!(done.is_ok(), there.is_some());
                    assert!(there.is_none_or(|there| there == read), "{turn}");
                }
            }
            assert_eq!(overlay.len().unwrap(), expected.len() as u64);
        }
    }
}
