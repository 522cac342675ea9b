//! What the kernel does with the pages of an arena, as the kernel says it.
#![cfg(all(feature = "locked-memory", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(
    unsafe_code,
    reason = "what a forked process sees can only be asked in a forked process"
)]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use m2m_crypto::{ArenaError, LockedArena, MAX_ARENA_BYTES, SecretBytes};
use rustix::process::{Resource, Rlimit, getuid, setrlimit};

const CANARY: [u8; 32] = *b"a canary of thirty-two bytes....";

fn canary() -> SecretBytes {
    SecretBytes::from(&CANARY[..])
}

/// The flags of the mapping that `address` lies in (`VmFlags` of proc(5)).
fn flags_of(address: usize) -> Vec<String> {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().unwrap_or_default();
        if let Some((from, to)) = range.split_once('-') {
            let number = |text| usize::from_str_radix(text, 16).ok();
            if let (Some(from), Some(to)) = (number(from), number(to)) {
                inside = (from..to).contains(&address);
            }
        }
        if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
            return flags.split_whitespace().map(str::to_owned).collect();
        }
    }
    panic!("{address:x} is in no mapping");
}

#[test]
fn the_kernel_says_that_it_is_locked_not_dumped_and_wiped_on_fork() {
    let mut arena = LockedArena::best_effort(100).unwrap();
    let slot = arena.insert(&canary()).unwrap();
    let flags = flags_of(arena.expose_secret(slot).unwrap().as_ptr().addr());
    let has = |flag: &str| flags.iter().any(|found| found == flag);
    let refused = |error: fn(&ArenaError) -> bool| arena.refused().iter().any(error);
    // What is not refused is true, and what is refused is not.
    assert_eq!(
        has("lo"),
        !refused(|e| matches!(e, ArenaError::Lock { .. })),
        "{flags:?}"
    );
    assert_eq!(
        has("dd"),
        !refused(|e| matches!(e, ArenaError::DontDump { .. })),
        "{flags:?}"
    );
    assert_eq!(
        has("wf"),
        !refused(|e| matches!(e, ArenaError::WipeOnFork { .. })),
        "{flags:?}"
    );
    if !arena.refused().is_empty() {
        eprintln!(
            "not wholly shown: this kernel refuses {:?}",
            arena.refused()
        );
    }
    let elsewhere = flags_of(Box::new(1_u8).as_ref() as *const u8 as usize);
    assert!(!elsewhere.iter().any(|flag| flag == "dd"), "the control");
}

/// Whether `check` holds in a process that was forked from this one.
fn holds_in_a_fork(
    as_nobody: bool,
    mut check: impl FnMut() -> bool + Send + Sync + 'static,
) -> bool {
    let mut command = Command::new("true");
    if as_nobody {
        command.uid(65_534);
    }
    // SAFETY: the closure reads memory, makes system calls, and may allocate, which the allocator of this
    // platform allows after a fork; it takes no lock that another thread of this test may hold.
    unsafe {
        command.pre_exec(move || match check() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(1)),
        });
    }
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_forked_process_finds_zeroes_and_is_told_so() {
    assert!(!holds_in_a_fork(false, || false), "the control");
    let mut arena = LockedArena::best_effort(100).unwrap();
    let slot = arena.insert(&canary()).unwrap();
    if arena
        .refused()
        .iter()
        .any(|e| matches!(e, ArenaError::WipeOnFork { .. }))
    {
        return eprintln!("skipped: this kernel does not wipe memory in forked processes");
    }
    let address = arena.expose_secret(slot).unwrap().as_ptr().addr();
    let ordinary = Box::new(CANARY);
    assert!(holds_in_a_fork(false, move || {
        // SAFETY: the arena lives until the closure is gone, and the mapping is readable.
        let raw = unsafe { std::slice::from_raw_parts(address as *const u8, CANARY.len()) };
        raw.iter().all(|byte| *byte == 0)
            && arena.expose_secret(slot).is_none()
            && arena.insert(&canary()).is_none()
            && *ordinary == CANARY
    }));
}

#[test]
fn a_limit_of_nothing_is_reported_and_not_pretended() {
    let refused = || {
        let nothing = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Memlock, nothing).is_ok()
            && matches!(LockedArena::new(100), Err(ArenaError::Lock { .. }))
            && LockedArena::best_effort(100)
                .is_ok_and(|arena| matches!(arena.refused(), [ArenaError::Lock { .. }]))
    };
    // Root may lock whatever the limit says.
    assert!(holds_in_a_fork(getuid().is_root(), refused));
}

#[test]
fn secrets_lie_apart_and_room_ends() {
    let mut arena = LockedArena::best_effort(1).unwrap();
    let mut slots = Vec::new();
    while let Some(slot) = arena.insert(&canary()) {
        slots.push(slot);
    }
    assert!(slots.len() >= 63 && arena.room() < 64, "{}", slots.len());
    for slot in &slots {
        assert_eq!(arena.expose_secret(*slot), Some(&CANARY[..]));
    }
    let mut distinct = slots.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), slots.len());
    // A slot of a fuller arena names nothing in an empty one.
    let empty = LockedArena::best_effort(1).unwrap();
    assert_eq!(empty.expose_secret(*slots.last().unwrap()), None);
    for asked in [0, MAX_ARENA_BYTES + 1, usize::MAX] {
        assert_eq!(
            LockedArena::best_effort(asked).unwrap_err(),
            ArenaError::Size { asked }
        );
    }
}

#[test]
fn an_arena_is_shared_between_threads_and_shows_nothing() {
    let mut arena = LockedArena::best_effort(4096).unwrap();
    let slot = arena.insert(&canary()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(arena.expose_secret(slot), Some(&CANARY[..])));
        }
    });
    let shown = format!("{arena:?} {slot:?}");
    assert!(
        !shown.contains("canary") && !shown.contains("97, 32"),
        "{shown}"
    );
}

#[test]
fn nothing_is_left_mapped_when_it_is_dropped() {
    // So large that nothing else of this test is given its place at once.
    let mut arena = LockedArena::best_effort(3 << 20).unwrap();
    let slot = arena.insert(&canary()).unwrap();
    let address = arena.expose_secret(slot).unwrap().as_ptr().addr();
    assert!(is_mapped_and_not_dumped(address));
    drop(arena);
    assert!(!is_mapped_and_not_dumped(address));
}

fn is_mapped_and_not_dumped(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text| usize::from_str_radix(text, 16).unwrap();
    let mapped = maps.lines().any(|line| {
        let range = line.split(' ').next().unwrap();
        let (from, to) = range.split_once('-').unwrap();
        (number(from)..number(to)).contains(&address)
    });
    mapped && flags_of(address).iter().any(|flag| flag == "dd")
}
