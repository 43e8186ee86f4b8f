import CDim
import DimArchitecture
import DimFiles
import DimModel
import DimRuntime

/// How a file is opened: the architecture that it must have, and whether the isolated reader reads it.
struct OpenOptions {
    var expected = Expectation(.notebookAlone)
    var reader = WeightsFile.Reader.here

    /// options: NULL for those of the functions without any.
    init(_ options: UnsafePointer<dim_open_options>?) throws {
        guard let options = options?.pointee else { return }
        try checkSize(options.struct_size, MemoryLayout<dim_open_options>.size, "dim_open_options")
        if let handle = options.architecture {
            expected.architectures = .exactly(try architecture(handle, "options->architecture"))
        } else if options.any_architecture {
            expected.architectures = .any
        }
        let known = Network.allCases.reduce(0) { $0 | $1.rawValue }
        guard options.networks & ~known == 0 else {
            throw DimError(
                .invalidArgument,
                "options->networks is \(options.networks); expected 0 for all, or a mask of DIM_NETWORK_*")
        }
        expected.networks = options.networks
        let seconds = options.timeout
        guard seconds >= 0, seconds <= 86400 else {
            throw DimError(
                .invalidArgument, "options->timeout is \(seconds) s; expected 0 (60 s) to 86400 s")
        }
        if options.untrusted { reader = .isolated(seconds: seconds == 0 ? nil : seconds) }
    }

    /// For a model that there is: it keeps its architecture.
    init(_ options: UnsafePointer<dim_open_options>?, for model: Model) throws {
        try self.init(options)
        if case .exactly(let given) = expected.architectures, !given.isSameNetwork(as: model.architecture) {
            throw DimError(
                .invalidArgument,
                "options->architecture is not the model's; a model keeps its own: expected NULL, or the same")
        }
        expected.architectures = .exactly(model.architecture)
    }

    /// For a trainer's checkpoint, which is read whole.
    static func checkpoint(_ options: UnsafePointer<dim_open_options>?) throws -> OpenOptions {
        let options = try OpenOptions(options)
        guard options.expected.networks == 0 else {
            throw DimError(
                .invalidArgument,
                "options->networks is \(options.expected.networks); a checkpoint is read whole: expected 0")
        }
        return options
    }
}
