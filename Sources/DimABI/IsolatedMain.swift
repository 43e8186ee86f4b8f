import DimFiles

/// Where the library starts when it is run as a program: the isolated reader of untrusted files. See
/// Sources/CIsolation/start.c.
@_cdecl("libdim_isolated_main")
public func libdimIsolatedMain(
    _ count: CInt, _ arguments: UnsafePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    let texts = (0..<Int(count)).compactMap { arguments[$0].map { String(cString: $0) } }
    return IsolatedReader.main(texts, checkpoints: Checkpoint.arrays)
}
