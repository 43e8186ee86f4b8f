import CDim
import DimModel
import DimOperators
import DimRuntime
import DimFiles

private let statusNames: [UInt32: StaticText] = [
    DIM_OK.rawValue: "DIM_OK",
    DIM_INVALID_ARGUMENT.rawValue: "DIM_INVALID_ARGUMENT",
    DIM_INVALID_HANDLE.rawValue: "DIM_INVALID_HANDLE",
    DIM_TOO_LARGE.rawValue: "DIM_TOO_LARGE",
    DIM_UNKNOWN_NAME.rawValue: "DIM_UNKNOWN_NAME",
    DIM_SIZE_MISMATCH.rawValue: "DIM_SIZE_MISMATCH",
    DIM_MISSING_NETWORK.rawValue: "DIM_MISSING_NETWORK",
    DIM_IO.rawValue: "DIM_IO",
    DIM_FILE_FORMAT.rawValue: "DIM_FILE_FORMAT",
    DIM_FILE_CONTENT.rawValue: "DIM_FILE_CONTENT",
    DIM_OUT_OF_MEMORY.rawValue: "DIM_OUT_OF_MEMORY",
    DIM_NOT_FINITE.rawValue: "DIM_NOT_FINITE",
    DIM_CANCELLED.rawValue: "DIM_CANCELLED",
    DIM_INTERNAL.rawValue: "DIM_INTERNAL",
].mapValues(StaticText.init)
private let unknownStatus = StaticText("unknown status")
private let emptyText = StaticText("")

private let versionNumber = "\(DIM_VERSION_MAJOR).\(DIM_VERSION_MINOR).\(DIM_VERSION_PATCH)"
private let version = StaticText(versionNumber)

@_cdecl("dim_status_name") @implementation
public func dim_status_name(_ status: dim_status) -> UnsafePointer<CChar>! {
    (statusNames[status.rawValue] ?? unknownStatus).pointer
}

@_cdecl("dim_last_error") @implementation
public func dim_last_error() -> UnsafePointer<CChar>! {
    ThreadText.lastError.pointer ?? emptyText.pointer
}

@_cdecl("dim_version") @implementation
public func dim_version() -> UnsafePointer<CChar>! {
    version.pointer
}

@_cdecl("dim_build_info") @implementation
public func dim_build_info() -> UnsafePointer<CChar>! {
    let faults = ComputeBackend.faults
    let threads = ThreadPool.shared.threads
    ThreadText.buildInfo.set(
        "libdim \(versionNumber), \(ComputeBackend.description), \(threads) thread\(threads == 1 ? "" : "s"), "
            + "HDF5 \(WeightsFile.libraryVersion)\(Precision.hasMixed ? ", mixed precision" : "")"
            + (faults.isEmpty ? "" : "; not understood: " + faults.joined(separator: ", ")))
    return ThreadText.buildInfo.pointer ?? emptyText.pointer
}

@_cdecl("dim_set_num_threads") @implementation
public func dim_set_num_threads(_ n: CInt) -> dim_status {
    fallible {
        guard (0...1024).contains(n) else {
            throw DimError(.invalidArgument, "the number of threads is \(n); expected 0 (all cores) to 1024")
        }
        ThreadPool.shared.setThreads(Int(n))
    }
}

@_cdecl("dim_num_threads") @implementation
public func dim_num_threads() -> CInt {
    CInt(ThreadPool.shared.threads)
}

@_cdecl("dim_max_images") @implementation
public func dim_max_images() -> Int {
    maximumImages
}
