import CDim
import DimFiles
import DimModel
import DimRuntime

@_cdecl("dim_model_save_with") @implementation
public func dim_model_save_with(
    _ model: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<dim_save_options>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let path = try filePath(path, "path")
        switch try options?.pointee.checked() ?? DIM_FORMAT_HDF5 {
        case DIM_FORMAT_SAFETENSORS: try WeightsFile.writeSafetensors(model.stateDict(), path: path)
        default: try WeightsFile.write(model.stateDict(), path: path)
        }
    }
}

extension dim_save_options {
    fileprivate func checked() throws -> dim_format {
        try checkSize(struct_size, MemoryLayout<dim_save_options>.size, "dim_save_options")
        guard format == DIM_FORMAT_HDF5 || format == DIM_FORMAT_SAFETENSORS else {
            throw DimError(
                .invalidArgument,
                "format is \(format.rawValue); expected DIM_FORMAT_HDF5 (0) or DIM_FORMAT_SAFETENSORS (1)")
        }
        return format
    }
}
