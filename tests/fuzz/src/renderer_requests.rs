//! What phyllome-guest says to a renderer: bytes that are one message are the same when they are written again, and
//! what the renderer checks of numbers never overflows.

use phyllome_guest_bridge::renderer::server::checks;
use phyllome_guest_bridge::renderer::wire::{Box3d, Create3d, Piece, Request, Transfer3d, append, take};

/// One packet.
pub fn run(data: &[u8]) {
    let _ = Piece::list(data).map(|pieces| pieces.map(|piece| piece.to_bytes().len()).sum::<usize>());
    let mut rest = data;
    let mut made = Create3d { target: 2, width: 64, height: 64, depth: 1, array_size: 1, ..Create3d::default() };
    while let Some((request, after)) = take::<Request<'_>>(rest) {
        rest = after;
        let mut again = Vec::new();
        if append(&mut again, &request) {
            assert_eq!(take::<Request<'_>>(&again).map(|(request, _)| request), Some(request.clone()));
        }
        check(&request, &mut made);
    }
}

/// What the renderer asks of a request's numbers before it acts.
fn check(request: &Request<'_>, made: &mut Create3d) {
    match request {
        Request::Create { what, .. } => {
            if let Ok(bytes) = checks::create(what) {
                assert!(bytes > 0, "{what:?} has no bytes");
                *made = *what;
            }
            let _ = checks::exportable(what);
        }
        Request::TransferTo { transfer, .. } | Request::TransferFrom { transfer, .. } => {
            let _ = checks::transfer(made, transfer, 1 << 20);
        }
        Request::ReadBack { part, .. } => {
            let _ = checks::read_back(made, part, 1 << 20);
        }
        _ => {}
    }
}

/// A texture's life.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut packet = Vec::new();
    let what = Create3d {
        target: 2,
        format: 1,
        bind: 2,
        width: 64,
        height: 64,
        depth: 1,
        array_size: 1,
        ..Create3d::default()
    };
    let region = Box3d { width: 64, height: 64, depth: 1, ..Box3d::default() };
    let transfer = Transfer3d { region, ..Transfer3d::default() };
    let requests = [
        Request::Create { resource: 1, what },
        Request::TransferTo { resource: 1, transfer },
        Request::Submit { context: 1, commands: &[1, 2, 3, 4] },
        Request::Fence { context: 1, ring: Some(0), fence: 9 },
        Request::Unref(1),
        Request::Reset,
    ];
    let each = requests.iter().map(|request| {
        let mut alone = Vec::new();
        assert!(append(&mut alone, request) && append(&mut packet, request));
        alone
    });
    let mut all: Vec<Vec<u8>> = each.collect();
    all.push(packet);
    all
}
