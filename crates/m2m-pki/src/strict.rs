//! What the parser below us is lenient about: the shape of DER, checked before anything is read.

/// How deep a certificate may be nested; those in use need about ten levels.
const MAX_DEPTH: usize = 24;

/// One element and what stands behind it.
pub(crate) struct Split<'a> {
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
    pub(crate) rest: &'a [u8],
    pub(crate) tag: u8,
}

/// Where in a whole something stands, so that it need not be copied out of it.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    from: usize,
    to: usize,
}

impl Part {
    /// Where `part` stands, which is a slice of `whole`.
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Option<Self> {
        let from = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        let to = from.checked_add(part.len())?;
        (to <= whole.len()).then_some(Self { from, to })
    }

    pub(crate) fn in_whole(self, whole: &[u8]) -> &[u8] {
        whole.get(self.from..self.to).unwrap_or_default()
    }
}

/// Whether `input` is exactly one element of DER (X.690 §10.1): definite lengths in their shortest
/// form, tag numbers below 31, nothing left over inside of what is constructed, bounded nesting.
pub(crate) fn is_one_element(input: &[u8]) -> bool {
    matches!(split(input), Some(split) if split.rest.is_empty() && is_sound(&split, MAX_DEPTH))
}

/// The first element of `input`.
pub(crate) fn split(input: &[u8]) -> Option<Split<'_>> {
    let (&tag, rest) = input.split_first()?;
    // High tag numbers (X.690 §8.1.2.4) do not occur in what we read.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            // The shortest form: no leading zero, and the long form only when the short one cannot.
            if digits.first() == Some(&0) || length < 0x80 {
                return None;
            }
            (length, rest)
        }
        // Indefinite, reserved, or larger than anything we take.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Split {
        whole: input.get(..input.len() - rest.len())?,
        content,
        rest,
        tag,
    })
}

/// The elements in `element`, if that has this tag and there are exactly `N`.
pub(crate) fn fields<const N: usize>(element: &[u8], tag: u8) -> Option<[&[u8]; N]> {
    let element = split(element).filter(|element| element.tag == tag)?;
    let mut rest = element.content;
    let mut fields = [rest; N];
    for field in &mut fields {
        let next = split(rest)?;
        (*field, rest) = (next.whole, next.rest);
    }
    rest.is_empty().then_some(fields)
}

/// The tags of the elements in `element`.
pub(crate) fn tags(element: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = split(element)
        .map(|element| element.content)
        .unwrap_or_default();
    std::iter::from_fn(move || {
        let next = split(rest)?;
        rest = next.rest;
        Some(next.tag)
    })
}

/// The same in `room`, if there is enough of it.
pub(crate) fn tags_in<'r>(element: &[u8], room: &'r mut [u8]) -> Option<&'r [u8]> {
    let mut count = 0;
    for tag in tags(element) {
        *room.get_mut(count)? = tag;
        count += 1;
    }
    room.get(..count)
}

/// Whether `element` has the form of an `AlgorithmIdentifier` that says no more than a name and NULL.
pub(crate) fn is_algorithm(element: &[u8]) -> bool {
    element.first() == Some(&0x30) && (tags(element).eq([6]) || tags(element).eq([6, 5]))
}

/// Whether `element` has the form of an extension: a name, perhaps a boolean, and bytes.
pub(crate) fn is_extension(element: &[u8]) -> bool {
    element.first() == Some(&0x30) && (tags(element).eq([6, 4]) || tags(element).eq([6, 1, 4]))
}

/// `parts`, one behind the other, under `tag`.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeroes..).unwrap_or_default();
    let mut element = Vec::with_capacity(2 + digits.len() + length);
    element.push(tag);
    match (length, u8::try_from(digits.len())) {
        (0..=0x7f, _) | (_, Err(_)) => element.extend(digits.first().or(Some(&0))),
        (_, Ok(count)) => {
            element.push(0x80 | count);
            element.extend(digits);
        }
    }
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}

fn is_sound(element: &Split<'_>, depth: usize) -> bool {
    let constructed = element.tag & 0x20 != 0;
    // Zero is the end of contents of the indefinite form.
    if element.tag == 0 {
        return false;
    }
    // Sequences and sets are always constructed, and of the universal types only they are.
    if element.tag & 0xc0 == 0 && constructed != matches!(element.tag & 0x1f, 0x10 | 0x11) {
        return false;
    }
    match constructed {
        true => depth > 0 && are_sound(element.content, depth - 1),
        false => is_minimal(element),
    }
}

/// A boolean is one byte, zero or all ones; an integer has no needless first byte (X.690 §8.3.2, §11.1).
fn is_minimal(element: &Split<'_>) -> bool {
    match (element.tag, element.content) {
        (0x01, content) => matches!(content, [0 | 0xff]),
        (0x02, []) => false,
        (0x02, [first, second, ..]) => !matches!((first, second & 0x80), (0, 0) | (0xff, 0x80)),
        (0x05, content) => content.is_empty(),
        _ => true,
    }
}

fn are_sound(mut content: &[u8], depth: usize) -> bool {
    while !content.is_empty() {
        match split(content) {
            Some(element) if is_sound(&element, depth) => content = element.rest,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pki_017_only_the_shortest_form_of_der_is_taken() {
        for good in [
            &[0x30, 0][..],
            &[0x30, 3, 2, 1, 5],
            &[4, 1, 0xff],
            &[1, 1, 0xff],
        ] {
            assert!(is_one_element(good), "{good:x?}");
        }
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0, 0],          // indefinite
            &[0x30, 0x81, 3, 2, 1, 5],    // not the shortest length
            &[0x30, 0x82, 0, 3, 2, 1, 5], // the same with a zero
            &[0x30, 0x84, 0x80, 0, 0, 0], // 2^31
            &[0x30, 0x85, 1, 0, 0, 0, 0], // 2^32
            &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 3, 2, 1],    // truncated
            &[0x30, 0, 0],       // something behind
            &[0x30, 2, 2, 1],    // truncated inside
            &[0x1f, 0x81, 0, 0], // a high tag number
            &[0x10, 0],          // a sequence that is not constructed
            &[0x24, 2, 4, 0],    // an octet string that is
            &[1, 1, 1],          // a boolean that is neither
            &[2, 0],             // an integer of nothing
            &[2, 2, 0, 1],       // an integer that is not minimal
        ] {
            assert!(!is_one_element(bad), "{bad:x?}");
        }
    }

    #[test]
    fn pki_017_nesting_is_bounded() {
        let nested =
            |depth: usize| (0..depth).fold(Vec::new(), |inner, _| element(0x30, &[&inner]));
        assert!(is_one_element(&nested(MAX_DEPTH)));
        assert!(!is_one_element(&nested(MAX_DEPTH + 2)));
        assert!(!is_one_element(&nested(5_000)));
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let written = element(4, &[&vec![7; length]]);
            let read = split(&written).unwrap();
            assert_eq!(
                (read.content.len(), read.whole.len()),
                (length, written.len())
            );
            assert!(is_one_element(&written));
        }
    }
}
