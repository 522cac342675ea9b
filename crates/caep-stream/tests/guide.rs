//! What `docs/guides/become-a-caep-receiver.md` shows is what its example does.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

const GUIDE: &str = include_str!("../../../docs/guides/become-a-caep-receiver.md");
const EXAMPLE: &str = include_str!("../examples/caep_receiver.rs");

fn trimmed(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn all_code_of_the_guide_is_in_the_example() {
    let example = trimmed(EXAMPLE);
    let mut blocks = 0;
    for block in GUIDE.split("```rust,ignore\n").skip(1) {
        let code = trimmed(block.split_once("```").unwrap().0);
        assert!(!code.is_empty());
        let is_there = example.windows(code.len()).any(|lines| lines == code);
        assert!(is_there, "{code:#?}");
        blocks += 1;
    }
    assert!(blocks >= 9, "{blocks}");
}
