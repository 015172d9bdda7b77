//! Texts of all kinds, the same ones every time.

/// An endless stream of texts that tokenizers get wrong.
pub(crate) struct Texts {
    state: u64,
}

const PIECES: &[&[&str]] = &[
    &[
        "The quick brown fox",
        "it's",
        "don't",
        "WE'LL",
        "I've been",
        "naïve café",
        "e.g.",
        "co-operate",
        "hello",
    ],
    &[
        "日本語の文章です。",
        "東京都",
        "カタカナ",
        "ひらがな",
        "ｶﾀｶﾅ",
        "が",
        "か\u{3099}",
        "「引用」",
        "々〆ヶ",
    ],
    &["中文文本", "汉字漢字", "，。！？", "北京大学"],
    &["한국어 문장", "안녕하세요", "\u{1112}\u{1161}\u{11ab}"],
    &["👨‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵", "👍🏽", "☕️", "🫠"],
    &[
        "fn main() { println!(\"{}\", 1 << 2); }",
        "if (a != b) return;",
        "#include <stdio.h>",
        "x_y2 = {'k': [1, 2]}",
        "</div>",
        "\\n\\t",
        "https://example.org/a?b=c#d",
    ],
    &[
        "    ", "\t\t", "\n\n\n", " \n ", "\r\n", "\u{a0}", "\u{3000}", "\u{2028}", "  \t \n",
        "\u{200b}",
    ],
    &[
        "0",
        "12345",
        "3.14159",
        "1,000,000",
        "½",
        "²",
        "Ⅷ",
        "１２３",
        "٣٤",
        "2026-11-24",
        "0x1F",
        "①",
    ],
    &[
        "<|im_end|>",
        "<|im_start|>system",
        "<|endoftext|>",
        "<think>",
        "</think>",
        "<|eot_id|>",
        "<repo_name>",
        "<file_sep>",
        "[INST]",
        "<s>",
        "<|im_",
        "end|>",
    ],
    &[
        "\0",
        "\u{1}",
        "\u{7}",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{85}",
        "\u{202e}",
        "\u{feff}",
        "\u{ad}",
    ],
    &[
        "'s", "'S", "'", "''", "...", "—", "…", "!?", "((", "$€£", "~", "`", "@#%",
    ],
    &[
        "Привет",
        "Ελλάδα",
        "مرحبا",
        "שלום",
        "हिन्दी",
        "ไทย",
        "ß",
        "İ",
        "ǆ",
        "ﬁ",
    ],
];

impl Texts {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64.
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next_u64() % n as u64) as usize
    }

    fn random_char(&mut self) -> char {
        let top = [0x80, 0x800, 0x1_0000, 0x11_0000][self.below(4)];
        loop {
            if let Some(c) = char::from_u32(self.below(top) as u32) {
                return c;
            }
        }
    }
}

impl Iterator for Texts {
    type Item = String;

    /// One to twelve pieces of one or several kinds, with or without spaces between.
    fn next(&mut self) -> Option<String> {
        let one_kind = self.below(PIECES.len() * 2);
        let mut text = String::new();
        for _ in 0..=self.below(12) {
            let kind = if one_kind < PIECES.len() {
                one_kind
            } else {
                self.below(PIECES.len())
            };
            match self.below(8) {
                0 => text.extend((0..self.below(6)).map(|_| self.random_char())),
                _ => text.push_str(PIECES[kind][self.below(PIECES[kind].len())]),
            }
            if self.below(2) == 0 {
                text.push(' ');
            }
        }
        Some(text)
    }
}
