//! STO-003, STO-013: a file that was cut or in which bits were turned over is refused, or opens with
//! all that is in it; and costs no memory either way.

use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use m2m_store::{Disk, EmbeddedStore, OpenError, Store};
use pollster::block_on;

use crate::disk::{Random, SimDisk};
use crate::model::{Model, batch, options};
use crate::thoroughness;

const PAGE: usize = 4096;
/// What the process may have altogether, in KiB of addresses: the test itself, its images and the
/// stacks of threads need a third of it.
const MEMORY: usize = 256 << 10;
const WITHIN_MEMORY: &str = "M2M_STORE_WITHIN_MEMORY";

/// An image with one thing wrong, copied when it is first written to.
#[derive(Debug)]
struct Damaged {
    image: Arc<Vec<u8>>,
    cut: usize,
    flipped: Option<(usize, u8)>,
    written: Mutex<Option<Vec<u8>>>,
}

impl Damaged {
    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut written = self.written.lock().unwrap();
        change(written.get_or_insert_with(|| {
            let mut image = self.image[..self.cut].to_vec();
            if let Some((at, bit)) = self.flipped {
                image[at] ^= bit;
            }
            image
        }));
    }
}

impl Disk for Damaged {
    fn len(&self) -> io::Result<u64> {
        let written = self.written.lock().unwrap();
        Ok(written.as_ref().map_or(self.cut, Vec::len) as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let written = self.written.lock().unwrap();
        let there = match written.as_ref() {
            Some(written) => written,
            None => &self.image[..self.cut],
        };
        let part = from
            .checked_add(bytes.len())
            .and_then(|to| there.get(from..to));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        match (self.flipped, written.as_ref()) {
            (Some((at, bit)), None) if (from..from + bytes.len()).contains(&at) => {
                bytes[at - from] ^= bit;
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.change(|image| {
            image.resize(image.len().max(from + bytes.len()), 0);
            image[from..from + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|image| image.resize(usize::try_from(len).unwrap(), 0));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A store closed in order, and one that was not; what both hold.
fn images() -> ([Arc<Vec<u8>>; 2], Model) {
    let disk = SimDisk::new(Vec::new());
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = EmbeddedStore::create_on(as_disk, &options(0)).unwrap();
    let mut model = Model {
        life: Some(store.head().incarnation()),
        ..Model::default()
    };
    for number in 0..6 {
        block_on(store.commit(batch(number))).unwrap();
        model.commit(&batch(number));
    }
    let unclosed = Arc::new(disk.written());
    store.close().unwrap();
    ([Arc::new(disk.written()), unclosed], model)
}

/// Whether it was opened, with everything right.
fn look(image: &Arc<Vec<u8>>, model: &Model, cut: usize, flipped: Option<(usize, u8)>) -> bool {
    let disk = Arc::new(Damaged {
        image: Arc::clone(image),
        cut,
        flipped,
        written: Mutex::new(None),
    });
    match EmbeddedStore::open_on(disk, &options(0)) {
        Ok(store) => {
            if let Err(wrong) = model.check(&store) {
                panic!("cut at {cut}, turned over {flipped:?}: {wrong}");
            }
            true
        }
        Err(OpenError::Corrupt { .. } | OpenError::Key(_)) => false,
        Err(other) => panic!("cut at {cut}, turned over {flipped:?}: {other:?}"),
    }
}

#[test]
fn sto_003_a_file_cut_anywhere_is_refused_or_whole() {
    let (images, model) = images();
    let mut random = Random::new(8);
    for image in images {
        let (begun, length) = (Instant::now(), image.len());
        let step = 512 / thoroughness().min(512);
        let near = (0..600).chain(length - 600..=length);
        let sectors = (0..length).step_by(step);
        let odd = (0..1_000).map(|_| random.below(length));
        let cuts: Vec<usize> = near.chain(sectors).chain(odd).collect();
        let opened = cuts
            .iter()
            .filter(|cut| look(&image, &model, **cut, None))
            .count();
        eprintln!(
            "damaged: cut at {} lengths of {length}: {opened} opened, all right, {:.1?}",
            cuts.len(),
            begun.elapsed()
        );
        assert!(opened > 0, "uncut it opens");
    }
}

#[test]
fn sto_003_a_bit_turned_over_anywhere_is_noticed_or_does_no_harm() {
    let (images, model) = images();
    let mut random = Random::new(9);
    for image in images {
        let begun = Instant::now();
        let pages = image.chunks(PAGE).enumerate();
        let used = pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        let mut places: Vec<usize> = Vec::new();
        for (number, page) in used {
            let places_here = match number {
                // Each byte of the header.
                0 => (0..320).collect(),
                _ => (0..page.len().min(12 * thoroughness())).collect::<Vec<_>>(),
            };
            for place in places_here {
                // At random, unless it is each of them.
                let place = match number == 0 || 12 * thoroughness() >= PAGE {
                    true => place,
                    false => random.below(page.len()),
                };
                places.push(number * PAGE + place);
            }
        }
        let (mut opened, mut looked) = (0, 0);
        for &place in &places {
            // In the header each bit, elsewhere one.
            let bits = match place < 320 {
                true => (0..8).map(|bit| 1 << bit).collect(),
                false => vec![1 << random.below(8)],
            };
            for bit in bits {
                looked += 1;
                opened += usize::from(look(&image, &model, image.len(), Some((place, bit))));
            }
        }
        eprintln!(
            "damaged: {looked} bits turned over: {opened} opened, all right, {:.1?}",
            begun.elapsed()
        );
    }
}

/// Numbers of 2³² and more where lengths and counts stand, in a process that can have no memory for
/// them.
#[test]
fn sto_013_lengths_in_the_file_are_not_believed() {
    if std::env::var_os(WITHIN_MEMORY).is_some() {
        return lengths_are_not_believed();
    }
    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1", "--nocapture"])
        .arg("damaged::sto_013_lengths_in_the_file_are_not_believed")
        .envs([(WITHIN_MEMORY, "1"), ("MALLOC_ARENA_MAX", "1")])
        .status();
    assert!(status.unwrap().success());
}

fn lengths_are_not_believed() {
    let too_much = Vec::<u8>::new().try_reserve_exact(MEMORY << 10);
    assert!(too_much.is_err(), "the limit holds");
    let (images, model) = images();
    let mut random = Random::new(10);
    for image in images {
        let words = (0..image.len() - 8).step_by(8);
        let used = words.filter(|at| image[*at..*at + 8].iter().any(|byte| *byte != 0));
        let used: Vec<usize> = used.collect();
        for turn in 0..600 * thoroughness() {
            let at = match turn {
                0..40 => turn * 8,
                _ => used[random.below(used.len())],
            };
            let huge: &[u8] = match turn % 3 {
                0 => &[0xff; 8],
                1 => &[0xff; 4],
                _ => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            };
            let mut damaged = image.to_vec();
            damaged[at..at + huge.len()].copy_from_slice(huge);
            let length = damaged.len();
            look(&Arc::new(damaged), &model, length, None);
        }
    }
}
