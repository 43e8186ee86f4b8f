import CDim
import DimModel
import DimRuntime
import DimFiles

@_cdecl("dim_model_create") @implementation
public func dim_model_create(_ seed: UInt64, _ out: UnsafeMutablePointer<OpaquePointer?>!) -> dim_status {
    fallible {
        let out = try nonNull(out, "out")
        out.pointee = HandleTable.make(try Model(seed: seed))
    }
}

@_cdecl("dim_model_open") @implementation
public func dim_model_open(_ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!) -> dim_status {
    dim_model_open_with(path, nil, out)
}

@_cdecl("dim_model_open_with") @implementation
public func dim_model_open_with(
    _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<dim_open_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let path = try filePath(path, "path")
        let out = try nonNull(out, "out")
        let open = try OpenOptions(options)
        out.pointee = HandleTable.make(Model(try WeightsFile.read(path: path, open.expected, by: open.reader)))
    }
}

@_cdecl("dim_model_load") @implementation
public func dim_model_load(_ model: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> dim_status {
    dim_model_load_with(model, path, nil)
}

@_cdecl("dim_model_load_with") @implementation
public func dim_model_load_with(
    _ model: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<dim_open_options>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let path = try filePath(path, "path")
        let open = try OpenOptions(options, for: model)
        model.replace(try WeightsFile.read(path: path, open.expected, by: open.reader))
    }
}

@_cdecl("dim_model_save") @implementation
public func dim_model_save(_ model: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try WeightsFile.write(model.stateDict(), path: try filePath(path, "path"))
    }
}

@_cdecl("dim_model_free") @implementation
public func dim_model_free(_ model: OpaquePointer!) {
    HandleTable.free(model, as: Model.self)
}

@_cdecl("dim_model_set_training") @implementation
public func dim_model_set_training(_ model: OpaquePointer!, _ training: Bool) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        model.isTraining = training
    }
}

@_cdecl("dim_model_is_training") @implementation
public func dim_model_is_training(_ model: OpaquePointer!, _ out: UnsafeMutablePointer<Bool>!) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try nonNull(out, "out").pointee = model.isTraining
    }
}

@_cdecl("dim_model_networks") @implementation
public func dim_model_networks(_ model: OpaquePointer!) -> UInt32 {
    guard let model = try? HandleTable.object(model, "model", as: Model.self) else { return 0 }
    return model.networks.reduce(0) { $0 | $1.rawValue }
}
