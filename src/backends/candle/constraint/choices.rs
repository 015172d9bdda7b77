//! Which tokens may come next if the text must be one of given choices.

use std::collections::HashSet;

use crate::error::{Error, Result};

/// A completion that is to be one of given texts: where in the tree of their bytes it is.
///
/// A token may come next if its bytes continue a choice, even if an encoder would split the text in another way, and if
/// the remaining tokens are enough to end a choice from there.
#[derive(Debug)]
pub(crate) struct Choices {
    nodes: Vec<Node>,
    /// The node of what has been written.
    at: usize,
    ends: Vec<u32>,
}

/// The beginnings of choices that are the same bytes.
#[derive(Debug, Default)]
struct Node {
    /// The next byte, and where it leads: always to a later node.
    children: Vec<(u8, usize)>,
    /// Whether a choice ends here.
    is_choice: bool,
    /// The tokens that may come next, and the node that each leads to.
    steps: Vec<(u32, usize)>,
    /// The fewest tokens from here to the end of a choice; `None` if no tokens lead there.
    distance: Option<usize>,
}

/// The tokens that a text may be made of, in the order of their bytes.
#[derive(Debug)]
pub(super) struct Spelling(Vec<(Vec<u8>, u32)>);

impl Spelling {
    /// Of tokens and what they write; those that write nothing are left out.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let written = tokens.filter(|(_, bytes)| !bytes.is_empty());
        let mut sorted: Vec<_> = written.map(|(id, bytes)| (bytes.to_vec(), id)).collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

impl Choices {
    /// Nothing written, and all choices possible. The tokens `ends` decide for a choice with which a longer one begins.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no choice, or one that is empty, that no tokens spell or that holds a stop string,
    /// or if none can be written in `max_tokens`.
    pub(super) fn new(
        choices: &[String],
        stop: &[String],
        max_tokens: usize,
        spelling: &Spelling,
        ends: Vec<u32>,
    ) -> Result<Self> {
        if choices.is_empty() {
            return Err(Error::config("choices", "there is none; give at least one"));
        }
        let mut nodes = vec![Node::default()];
        let mut last = Vec::new();
        for (number, choice) in (1..).zip(choices) {
            if choice.is_empty() {
                return Err(wrong(number, "is empty; leave it out"));
            }
            if stop.iter().any(|stop| choice.contains(stop)) {
                return Err(wrong(number, "holds a stop string, which would cut it"));
            }
            last.push(insert(&mut nodes, choice.as_bytes()));
        }
        // From the last node to the first: steps lead to later ones, whose distance is then known.
        for index in (0..nodes.len()).rev() {
            let (mut steps, mut nearest) = (steps(&nodes, index, spelling), None);
            steps.retain(|(_, to)| {
                let distance = nodes.get(*to).and_then(|node| node.distance);
                nearest = nearest.into_iter().chain(distance).min();
                distance.is_some()
            });
            if let Some(node) = nodes.get_mut(index) {
                let onwards = nearest.map(|tokens: usize| tokens + 1);
                node.distance = if node.is_choice { Some(0) } else { onwards };
                node.steps = steps;
            }
        }
        let reached = reached(&nodes);
        for (number, last) in (1..).zip(last) {
            if !reached.contains(&last) {
                return Err(wrong(number, "cannot be spelt in tokens of this model"));
            }
        }
        match nodes.first().and_then(|root| root.distance) {
            Some(needed) if needed > max_tokens => Err(Error::config(
                "max_tokens",
                format!("{max_tokens} is too few for every choice: the shortest needs {needed}"),
            )),
            _ => Ok(Self { nodes, at: 0, ends }),
        }
    }

    /// The tokens that may come next if `left` tokens may still be written, this one among them.
    pub(super) fn allowed(&self, left: usize) -> Vec<u32> {
        let Some(here) = self.nodes.get(self.at) else {
            return Vec::new();
        };
        let fits = |to: usize| {
            let distance = self.nodes.get(to).and_then(|node| node.distance);
            distance.is_some_and(|distance| distance < left)
        };
        let steps = here.steps.iter().filter(|(_, to)| fits(*to));
        let mut allowed: Vec<u32> = steps.map(|(token, _)| *token).collect();
        if here.is_choice {
            allowed.extend(&self.ends);
        }
        allowed
    }

    /// Goes on by a token that was allowed.
    pub(super) fn accept(&mut self, token: u32) {
        let here = self.nodes.get(self.at);
        let step = here.and_then(|node| node.steps.iter().find(|(id, _)| *id == token));
        if let Some((_, to)) = step {
            self.at = *to;
        }
    }

    /// Whether the text is a choice.
    pub(super) fn is_complete(&self) -> bool {
        self.nodes.get(self.at).is_some_and(|node| node.is_choice)
    }

    /// Whether the text is a choice, and no longer one begins with it.
    pub(super) fn is_over(&self) -> bool {
        let here = self.nodes.get(self.at);
        here.is_some_and(|node| node.is_choice && node.steps.is_empty())
    }
}

/// Adds a choice; gives the node of its end.
fn insert(nodes: &mut Vec<Node>, bytes: &[u8]) -> usize {
    let mut at = 0;
    for byte in bytes {
        let new = nodes.len();
        let Some(node) = nodes.get_mut(at) else {
            return at;
        };
        at = match node.children.iter().find(|(with, _)| with == byte) {
            Some((_, child)) => *child,
            None => {
                node.children.push((*byte, new));
                nodes.push(Node::default());
                new
            }
        };
    }
    if let Some(node) = nodes.get_mut(at) {
        node.is_choice = true;
    }
    at
}

/// All tokens whose bytes continue a choice from a node, and the node that each leads to.
fn steps(nodes: &[Node], from: usize, spelling: &Spelling) -> Vec<(u32, usize)> {
    let mut steps = Vec::new();
    let mut open = vec![(from, 0, spelling.0.as_slice())];
    // `tokens` begin with the bytes from the first node to this one, which are `depth`.
    while let Some((index, depth, tokens)) = open.pop() {
        let children = nodes.get(index).map(|node| node.children.as_slice());
        for (byte, child) in children.unwrap_or_default() {
            let next = |token: &(Vec<u8>, u32)| token.0.get(depth).copied();
            let start = tokens.partition_point(|token| next(token) < Some(*byte));
            let end = tokens.partition_point(|token| next(token) <= Some(*byte));
            let tokens = tokens.get(start..end).unwrap_or_default();
            let whole = tokens.iter().take_while(|token| token.0.len() == depth + 1);
            steps.extend(whole.map(|(_, id)| (*id, *child)));
            if !tokens.is_empty() {
                open.push((*child, depth + 1, tokens));
            }
        }
    }
    steps
}

/// The nodes to which tokens lead from the first.
fn reached(nodes: &[Node]) -> HashSet<usize> {
    let (mut reached, mut open) = (HashSet::from([0]), vec![0]);
    while let Some(index) = open.pop() {
        let steps = nodes.get(index).map(|node| node.steps.as_slice());
        for (_, to) in steps.unwrap_or_default() {
            if reached.insert(*to) {
                open.push(*to);
            }
        }
    }
    reached
}

fn wrong(number: usize, reason: &str) -> Error {
    Error::config("choices", format!("choice {number} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 99;

    /// Tokens 0, 1, 2, … that write these.
    fn choices(tokens: &[&str], choices: &[&str], max_tokens: usize) -> Result<Choices> {
        let spelling = Spelling::new((0..).zip(tokens.iter().map(|token| token.as_bytes())));
        let choices: Vec<String> = choices.iter().map(|&choice| choice.into()).collect();
        let stop = ["#".to_owned()];
        Choices::new(&choices, &stop, max_tokens, &spelling, vec![END])
    }

    fn allowed(choices: &Choices, left: usize) -> Vec<u32> {
        let mut allowed = choices.allowed(left);
        allowed.sort_unstable();
        allowed
    }

    fn error(tokens: &[&str], of: &[&str], max_tokens: usize) -> String {
        choices(tokens, of, max_tokens).unwrap_err().to_string()
    }

    #[test]
    fn any_tokens_that_spell_a_choice_are_allowed() {
        let tokens = ["t", "te", "tea", "a", "e", "x", "coffee", "c", "", "teas"];
        let mut tea = choices(&tokens, &["tea", "coffee"], 9).unwrap();
        assert_eq!(allowed(&tea, 9), [0, 1, 2, 6]);
        tea.accept(1);
        assert_eq!(allowed(&tea, 8), [3]);
        assert!(!tea.is_complete());
        tea.accept(3);
        assert!(tea.is_complete() && tea.is_over());
    }

    #[test]
    fn a_choice_that_begins_another_ends_with_the_turn() {
        let mut choices = choices(&["tea", " ", "pot", " p"], &["tea", "tea pot"], 9).unwrap();
        assert_eq!(allowed(&choices, 9), [0]);
        choices.accept(0);
        assert!(choices.is_complete() && !choices.is_over());
        assert_eq!(allowed(&choices, 8), [1, END]);
        choices.accept(1);
        assert_eq!(allowed(&choices, 7), [2]);
        choices.accept(2);
        assert!(choices.is_over());
    }

    #[test]
    fn tokens_that_lead_past_max_tokens_are_not_allowed() {
        let tokens = ["t", "e", "a", "te", "c", "u", "p"];
        let choices_in = |max_tokens| choices(&tokens, &["tea", "cup"], max_tokens);
        assert_eq!(allowed(&choices_in(2).unwrap(), 2), [3]);
        assert_eq!(allowed(&choices_in(3).unwrap(), 3), [0, 3, 4]);
        assert_eq!(
            choices_in(1).unwrap_err().to_string(),
            "max_tokens: 1 is too few for every choice: the shortest needs 2"
        );
    }

    #[test]
    fn choices_that_cannot_be_are_named_by_number() {
        let tokens = ["tea", "c", "cu", "#"];
        assert_eq!(
            error(&tokens, &[], 9),
            "choices: there is none; give at least one"
        );
        assert_eq!(
            error(&tokens, &["tea", ""], 9),
            "choices: choice 2 is empty; leave it out"
        );
        assert_eq!(
            error(&tokens, &["tea", "cup"], 9),
            "choices: choice 2 cannot be spelt in tokens of this model"
        );
        assert_eq!(
            error(&tokens, &["#"], 9),
            "choices: choice 1 holds a stop string, which would cut it"
        );
    }

    #[test]
    fn a_way_that_ends_nowhere_is_not_taken() {
        let choices = choices(&["t", "tea", "a"], &["tea"], 9).unwrap();
        assert_eq!(allowed(&choices, 9), [1]);
    }
}
