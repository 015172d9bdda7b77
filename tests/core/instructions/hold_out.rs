//! Which pairs are held out.

use proptest::prelude::*;
use safer_instruct::dataset::{InstructionPair, Preference, hold_out};

fn numbered(count: usize) -> Vec<InstructionPair> {
    (0..count)
        .map(|n| InstructionPair::new(format!("Count to {n}."), n.to_string()))
        .collect()
}

/// Pinned: figures of one release must be comparable with those of the next.
#[test]
fn what_is_held_out_never_changes_between_releases() {
    let (train, held_out) = hold_out(numbered(8), 3, 7);
    let shown: Vec<_> = held_out
        .iter()
        .chain(&train)
        .map(|pair| pair.response.as_str())
        .collect();
    assert_eq!(shown.concat(), "17032645");
    assert_eq!(hold_out(numbered(3), 5, 0).0, []);
    assert_eq!(hold_out(numbered(3), 0, 0).1, []);
    assert_ne!(hold_out(numbered(8), 3, 8).1, held_out);
}

#[test]
fn pairs_with_one_instruction_are_held_out_together() {
    let mut pairs = numbered(20);
    for pair in numbered(20) {
        pairs.push(InstructionPair::new(pair.instruction, "again"));
    }
    for count in 0..=40 {
        let (train, held_out) = hold_out(pairs.clone(), count, 1);
        assert_eq!(
            (held_out.len(), train.len() + held_out.len()),
            (count.next_multiple_of(2), 40)
        );
        assert!(held_out.iter().all(|held| {
            train
                .iter()
                .all(|pair| pair.instruction != held.instruction)
        }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_the_file_does_not_matter(order in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle(), seed: u64) {
        let pairs: Vec<_> = numbered(30)
            .into_iter()
            .map(|pair| InstructionPair::new(pair.instruction.replace('2', "1"), pair.response))
            .collect();
        let shuffled = order.iter().map(|place| pairs[*place].clone()).collect();
        prop_assert_eq!(hold_out(shuffled, 10, seed), hold_out(pairs, 10, seed));
    }
}

#[test]
fn preferences_with_one_prompt_are_held_out_together() {
    let preference = |n: usize| Preference {
        prompt: format!("Count to {}.", n / 2),
        chosen: format!("Yes: {n}."),
        rejected: format!("No: {n}."),
    };
    let pairs: Vec<Preference> = (0..8).map(preference).collect();
    let (train, held_out) = hold_out(pairs.clone(), 3, 0);
    assert_eq!((train.len(), held_out.len()), (4, 4));
    let prompts = |pairs: &[Preference]| -> Vec<String> {
        pairs.iter().map(|pair| pair.prompt.clone()).collect()
    };
    assert!(
        prompts(&train)
            .iter()
            .all(|prompt| !prompts(&held_out).contains(prompt))
    );
    let reversed = pairs.into_iter().rev().collect();
    assert_eq!(hold_out(reversed, 3, 0), (train, held_out));
}
