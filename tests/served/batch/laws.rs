//! The laws of models over batches of one.

use std::sync::LazyLock;

use safer_instruct::{backends::openai::batch::BatchModel, testkit};

use super::{builder, server::Server};

struct Served {
    _runtime: tokio::runtime::Runtime,
    _server: Server,
    _folder: tempfile::TempDir,
    model: BatchModel,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Server::start());
    let folder = tempfile::tempdir().unwrap();
    let model = builder(&server, folder.path()).open().unwrap();
    Served {
        _runtime: runtime,
        _server: server,
        _folder: folder,
        model,
    }
});

testkit::chat_laws!(chat, &SERVED.model);
