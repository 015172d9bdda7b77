//! A base and its adapter as one file: the same model, the same metadata, and whole or not there.

use std::path::{Path, PathBuf};

use futures::executor::block_on;
use tempfile::TempDir;

use super::{
    super::{CandleModel, CandleModelBuilder, Merge, ModelForm, Precision, gguf::Gguf},
    adapters::{Lora, name},
    tiny::{F32, Tiny, list, text},
};
use crate::{
    error::{Error, Result},
    model::{Prompt, ScoreRequest, ScoringModel},
};

const FORMS: [ModelForm; 2] = [ModelForm::F16, ModelForm::Q8_0];

/// A folder with a base and an adapter.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(tiny: &Tiny, lora: &Lora) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self { folder };
        std::fs::write(files.base(), tiny.bytes().1).unwrap();
        lora.write(&files.adapter());
        files
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("base.gguf")
    }

    fn adapter(&self) -> PathBuf {
        self.folder.path().join("adapter")
    }

    fn merged(&self) -> PathBuf {
        self.folder.path().join("merged.gguf")
    }

    fn merge(&self) -> Merge {
        Merge::new(self.base(), self.adapter()).with_threads(1)
    }

    /// What is in the folder, in order.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

fn exact(path: &Path) -> CandleModelBuilder {
    CandleModel::builder(path)
        .with_precision(Precision::F32)
        .with_threads(1)
}

/// Log-probabilities that all weights go into.
fn scores(builder: CandleModelBuilder) -> Vec<f64> {
    let model = builder.load().unwrap();
    let prompt = Prompt::Raw("the ring in the bin".to_owned());
    let request = ScoreRequest::new(prompt, ["ing the", "abc", "q", " in the beginning the"]);
    let scores = block_on(model.score(&request)).unwrap().continuations;
    scores.iter().map(|score| score.logprob).collect()
}

fn apart(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other);
    pairs.fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs()))
}

fn fails(merge: Merge, to: &Path) -> String {
    merge.write(to).unwrap_err().report()
}

#[test]
fn the_merged_file_is_the_model_with_the_adapter() {
    // All weights of the base are k / 256, and the adapter adds a half to some: F16 holds both exactly.
    let files = Files::new(&Tiny::new(), &Lora::new());
    let base = scores(exact(&files.base()));
    let adapted = scores(exact(&files.base()).with_adapter(files.adapter()));
    let changed = apart(&base, &adapted);
    assert!(changed > 0.01, "{base:?} {adapted:?}");

    files.merge().write(files.merged()).unwrap();
    assert_eq!(scores(exact(&files.merged())), adapted);

    // Each block of 32 weights has its own step, of which no weight is off by more than half.
    let rounded = files.folder.path().join("rounded.gguf");
    let merge = files.merge().with_form(ModelForm::Q8_0);
    merge.write(&rounded).unwrap();
    let off = apart(&scores(exact(&rounded)), &adapted);
    assert!(off > 0.0 && off < changed / 5.0, "{off} of {changed}");
    let [merged, rounded] = [files.merged(), rounded].map(|path| Gguf::open(&path).unwrap());
    for (name, shape) in merged.tensors() {
        let values = |gguf: &Gguf| {
            let mut values = vec![0.0; shape.iter().product()];
            gguf.rows(name, shape).unwrap().read(0, 0, &mut values);
            values
        };
        let (exact, near) = (values(&merged), values(&rounded));
        for (exact, near) in exact.chunks(32).zip(near.chunks(32)) {
            let most = exact.iter().fold(0f32, |most, x| most.max(x.abs()));
            // The scale is rounded too, to eleven bits.
            let step = most / 127.0 * 1.25;
            let pairs = exact.iter().zip(near);
            let worst = pairs.fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst <= step / 2.0, "{name}: {worst} of {step}");
        }
    }
}

#[test]
fn the_file_is_the_same_bytes_however_many_threads_write_it() {
    let mut lora = Lora::new();
    lora.settings["target_modules"] = "v_proj".into();
    lora.tensors.clear();
    lora.set(&name(1, "self_attn.v_proj", 'A'), vec![2, 256], 0.3);
    lora.set(&name(1, "self_attn.v_proj", 'B'), vec![128, 2], 0.7);
    let files = Files::new(&Tiny::sized(256, 1024), &lora);
    for form in FORMS {
        let [one, three] = [1, 3].map(|threads| {
            let merge = files.merge().with_form(form).with_threads(threads);
            merge.with_overwrite(true).write(files.merged()).unwrap();
            std::fs::read(files.merged()).unwrap()
        });
        assert!(one == three, "{form:?}");
    }
}

#[test]
fn metadata_stay_what_and_where_they_are() {
    let number = |value: u32| value.to_le_bytes().to_vec();
    let version = "general.quantization_version";
    let file_type = "general.file_type";
    for (form, expected) in [(ModelForm::F16, 1), (ModelForm::Q8_0, 7)] {
        for known in [true, false] {
            let mut tiny = Tiny::new();
            tiny.align(128);
            tiny.set("any.flags", 9, list(7, &[vec![1], vec![0]]));
            tiny.set("any.wide", 9, list(12, &[1.5f64.to_le_bytes().to_vec()]));
            tiny.set("any.empty", 9, list(8, &[]));
            tiny.set("any.bytes", 8, [text("")[..7].to_vec(), vec![0]].concat());
            if known {
                // Of another type than usual.
                tiny.set(file_type, 10, 3u64.to_le_bytes().to_vec());
                tiny.set(version, 4, number(9));
            }
            tiny.set("any.last", 0, vec![7]);
            let files = Files::new(&tiny, &Lora::new());
            files.merge().with_form(form).write(files.merged()).unwrap();

            let mut expected_entries = tiny.metadata.clone();
            let entry = (file_type.to_owned(), 4, number(expected));
            match expected_entries
                .iter_mut()
                .find(|(key, ..)| key == file_type)
            {
                Some(old) => *old = entry,
                None => expected_entries.push(entry),
            }
            if form == ModelForm::Q8_0 && !known {
                expected_entries.push((version.to_owned(), 4, number(2)));
            }
            let merged = Gguf::open(&files.merged()).unwrap();
            let expected_entries: Vec<_> = expected_entries
                .iter()
                .map(|(key, kind, value)| {
                    [text(key), kind.to_le_bytes().into(), value.clone()].concat()
                })
                .collect();
            let entries: Vec<_> = merged.entries().map(|(_, entry)| entry.to_vec()).collect();
            assert_eq!(entries, expected_entries);

            // The reader refuses tensors that are not aligned; these lie in the order of the base.
            assert_eq!(merged.alignment(), 128);
            let base = Gguf::open(&files.base()).unwrap();
            assert_eq!(merged.tensors(), base.tensors());
            assert_eq!(merged.tensors()[0].0, "token_embd.weight");
        }
    }
}

#[test]
fn matrices_get_the_form_and_vectors_stay_f32() {
    let mut tiny = Tiny::sized(32, 48);
    for layer in 0..2 {
        let down = tiny.tensor(&format!("blk.{layer}.ffn_down"));
        (down.kind, down.data) = (F32, 0.25f32.to_le_bytes().repeat(48 * 32));
    }
    let mut lora = Lora::new();
    lora.settings["target_modules"] = "v_proj".into();
    lora.tensors.retain(|name, _| name.contains("v_proj"));
    let files = Files::new(&tiny, &lora);
    let mut heard = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    for (form, usual) in FORMS.into_iter().zip(["F16", "Q8_0"]) {
        let says = std::rc::Rc::clone(&heard);
        let merge = files.merge().with_form(form).with_overwrite(true);
        let merge = merge.with_progress(move |done, all| says.borrow_mut().push((done, all)));
        merge.write(files.merged()).unwrap();
        let merged = Gguf::open(&files.merged()).unwrap();
        for (name, _) in merged.tensors() {
            let expected = match name {
                _ if name.contains("norm") => "F32",
                // 48 values a row are no whole blocks.
                _ if name.contains("ffn_down") => "F16",
                _ => usual,
            };
            assert_eq!(merged.type_name(name), Some(expected), "{name}");
        }
        let heard = std::rc::Rc::get_mut(&mut heard).unwrap().get_mut();
        assert_eq!(*heard, (0..=20).map(|done| (done, 20)).collect::<Vec<_>>());
        heard.clear();
        exact(&files.merged()).load().unwrap();
    }
}

#[test]
fn what_does_not_fit_into_the_form_is_refused_by_name() {
    let with = |tensor: &'static str, value: f32, form| {
        let mut tiny = Tiny::new();
        let tensor = tiny.tensor(tensor);
        let count: u64 = tensor.dims.iter().product();
        (tensor.kind, tensor.data) = (F32, 1f32.to_le_bytes().repeat(count as usize));
        tensor.data[..4].copy_from_slice(&value.to_le_bytes());
        let files = Files::new(&tiny, &Lora::new());
        let result = files.merge().with_form(form).write(files.merged());
        let names = files.names();
        // Nothing is left of a file that was not finished.
        assert_eq!(names.len(), 2 + usize::from(result.is_ok()), "{names:?}");
        result.map_err(|error| error.report())
    };
    let refused = |name: &str, form: &str| {
        Err(format!(
            "model base.gguf: the tensor {name}.weight has, with the adapter added, a value that is not a number or too large for {form}"
        ))
    };
    let (up, down) = ("blk.1.ffn_up", "blk.1.ffn_down");
    assert_eq!(with(up, 65_504.0, ModelForm::F16), Ok(()));
    assert_eq!(with(up, 65_505.0, ModelForm::F16), refused(up, "F16"));
    assert_eq!(with(up, -65_505.0, ModelForm::F16), refused(up, "F16"));
    assert_eq!(with(up, 65_505.0, ModelForm::Q8_0), Ok(()));
    // The adapter adds a half.
    assert_eq!(with(down, 65_503.75, ModelForm::F16), refused(down, "F16"));
    for form in FORMS {
        let shown = format!("{form:?}");
        assert_eq!(with(up, f32::NAN, form), refused(up, &shown));
        assert_eq!(with(up, f32::INFINITY, form), refused(up, &shown));
        assert_eq!(with("output_norm", 65_505.0, form), Ok(()));
        assert_eq!(
            with("output_norm", f32::NAN, form),
            refused("output_norm", "F32")
        );
    }
}

#[test]
fn a_base_that_does_not_go_with_the_adapter_is_refused() {
    let refused = |damage: fn(&mut Tiny)| {
        let mut tiny = Tiny::new();
        damage(&mut tiny);
        let files = Files::new(&tiny, &Lora::new());
        let report = fails(files.merge(), &files.merged());
        assert_eq!(files.names(), ["adapter", "base.gguf"]);
        report
    };
    let down = "the tensor blk.1.ffn_down.weight";
    assert_eq!(
        refused(|tiny| drop(tiny.tensors.pop())),
        format!("model base.gguf: {down} is missing")
    );
    assert_eq!(
        refused(|tiny| tiny.tensor("blk.1.ffn_down").dims = vec![32, 64]),
        format!("model base.gguf: {down} has the shape [64, 32] where [32, 64] is expected")
    );
    assert_eq!(
        refused(|tiny| tiny.set_size("embedding_length", 64)),
        "model adapter: the tensor base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight has the shape [2, 32] where [2, 64] is expected"
    );
    assert_eq!(
        refused(|tiny| tiny.set("split.count", 2, vec![3, 0])),
        "model base.gguf: is one of 3 parts of a model; join them with llama-gguf-split --merge"
    );
}

#[test]
fn a_file_that_is_there_is_replaced_only_if_asked() {
    let files = Files::new(&Tiny::new(), &Lora::new());
    let to = files.merged();
    std::fs::write(&to, "mine").unwrap();
    let there = format!(
        "output: {} is already there; choose another name or overwrite it",
        to.display()
    );
    let merge = files.merge();
    let merge = merge.with_progress(|_, _| panic!("the work was begun"));
    assert_eq!(fails(merge, &to), there);
    assert_eq!(std::fs::read(&to).unwrap(), b"mine");

    // A file that comes while the other one is written.
    std::fs::remove_file(&to).unwrap();
    let late = to.clone();
    let merge = files
        .merge()
        .with_progress(move |_, _| std::fs::write(&late, "late").unwrap());
    assert_eq!(fails(merge, &to), there);
    assert_eq!(std::fs::read(&to).unwrap(), b"late");
    assert_eq!(files.names(), ["adapter", "base.gguf", "merged.gguf"]);

    files.merge().with_overwrite(true).write(&to).unwrap();
    exact(&to).load().unwrap();

    let folder = files.adapter();
    assert_eq!(
        fails(files.merge().with_overwrite(true), &folder),
        format!(
            "output: {} is not a file; choose another name",
            folder.display()
        )
    );
}

#[test]
fn the_base_may_be_replaced() {
    let files = Files::new(&Tiny::new(), &Lora::new());
    let adapted = scores(exact(&files.base()).with_adapter(files.adapter()));
    let merge = files.merge().with_overwrite(true);
    merge.write(files.base()).unwrap();
    assert_eq!(scores(exact(&files.base())), adapted);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let files = Files::new(&Tiny::new(), &Lora::new());
    for folder in [files.folder.path().join("none"), files.base()] {
        let merged = folder.join("merged.gguf");
        match files.merge().write(&merged) {
            Err(Error::Io { path, .. }) => assert_eq!(path, merged),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(files.names(), ["adapter", "base.gguf"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_of_the_file() {
    let files = Files::new(&Tiny::new(), &Lora::new());
    let to = files.merged();
    let mut full = std::fs::File::create("/dev/full").unwrap();
    match files.merge().write_into(&mut full, &to) {
        Err(Error::Io { path, source }) => {
            assert_eq!(path, to);
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[cfg(unix)]
fn others_may_read_the_file_as_any_new_one() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let files = Files::new(&Tiny::new(), &Lora::new());
    files.merge().write(files.merged())?;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
    assert_eq!(mode(&files.merged()), mode(&files.base()));
    Ok(())
}
