//! The guides show code of programs that run: this is what shows that they do.

const GUIDE: &str = include_str!("../../../docs/guides/publish-your-own-events.md");
const PROGRAM: &str = include_str!("../examples/own_event.rs");

#[test]
fn the_guide_to_own_events_shows_the_program_that_runs() {
    let mut shown = 0;
    for part in GUIDE.split("```rust\n").skip(1) {
        let code = part.split("```").next().unwrap();
        assert!(PROGRAM.contains(code), "not in the program:\n{code}");
        shown += 1;
    }
    assert_eq!(shown, 7);
}
