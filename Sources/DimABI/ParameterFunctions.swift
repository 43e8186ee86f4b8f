import CDim
import DimArchitecture
import DimModel
import DimRuntime
import Glibc

@_cdecl("dim_model_parameter_count") @implementation
public func dim_model_parameter_count(_ model: OpaquePointer!) -> Int {
    guard let model = try? HandleTable.object(model, "model", as: Model.self) else { return 0 }
    return model.parameters.specs.count
}

@_cdecl("dim_model_parameter_info") @implementation
public func dim_model_parameter_info(
    _ model: OpaquePointer!, _ index: Int, _ out: UnsafeMutablePointer<dim_parameter_info>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let out = try nonNull(out, "out")
        let size = MemoryLayout<dim_parameter_info>.size
        guard out.pointee.struct_size == size else {
            throw DimError(
                .invalidArgument,
                "out->struct_size is \(UInt(bitPattern: out.pointee.struct_size)); "
                    + "expected sizeof(dim_parameter_info) = \(size)")
        }
        let parameters = model.parameters
        guard parameters.specs.indices.contains(index) else {
            throw DimError(
                .invalidArgument,
                "index is \(UInt(bitPattern: index)); the model has \(parameters.specs.count) parameters")
        }
        let spec = parameters.specs[index]
        var info = dim_parameter_info()
        info.struct_size = size
        info.name = parameters.names[index]
        info.dtype = spec.isInteger ? DIM_INT64 : DIM_FLOAT32
        info.ndim = CInt(spec.shape.count)
        withUnsafeMutableBytes(of: &info.shape) { shape in
            for (axis, extent) in spec.shape.enumerated() {
                shape.storeBytes(of: extent, toByteOffset: axis * MemoryLayout<Int>.stride, as: Int.self)
            }
        }
        info.bytes = spec.bytes
        info.trainable = spec.isTrainable
        out.pointee = info
    }
}

@_cdecl("dim_model_find_parameter") @implementation
public func dim_model_find_parameter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ index: UnsafeMutablePointer<Int>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let name = try string(name, "name")
        let index = try nonNull(index, "index")
        index.pointee = try parameterPlace(name, model.parameters, model)
    }
}

@_cdecl("dim_model_get_parameter") @implementation
public func dim_model_get_parameter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ out: UnsafeMutableRawPointer!, _ bytes: Int
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let name = try string(name, "name")
        guard let out else { throw DimError(.invalidArgument, "out is NULL") }
        let parameters = model.parameters
        let place = try parameterPlace(name, parameters, model)
        let spec = parameters.specs[place]
        try checkBytes(bytes, spec)
        switch try model.snapshot(spec.network).values[parameters.index(of: place)] {
        case .floats(let buffer): memcpy(out, buffer.pointer, spec.bytes)
        case .counter(let count): out.storeBytes(of: count, as: Int64.self)
        }
    }
}

@_cdecl("dim_model_set_parameter") @implementation
public func dim_model_set_parameter(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ data: UnsafeRawPointer!, _ bytes: Int
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let name = try string(name, "name")
        guard let data else { throw DimError(.invalidArgument, "data is NULL") }
        let parameters = model.parameters
        let place = try parameterPlace(name, parameters, model)
        let spec = parameters.specs[place]
        let value = try checkedValue(spec, data, bytes)
        model.replace([spec.network: [(index: parameters.index(of: place), value: value)]])
    }
}

@_cdecl("dim_model_set_parameters") @implementation
public func dim_model_set_parameters(
    _ model: OpaquePointer!, _ count: Int, _ names: UnsafePointer<UnsafePointer<CChar>?>!,
    _ data: UnsafePointer<UnsafeRawPointer?>!, _ bytes: UnsafePointer<Int>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let parameters = model.parameters
        let held = parameters.specs.count
        guard (1...held).contains(count) else {
            throw DimError(
                .invalidArgument, "count is \(UInt(bitPattern: count)); the model has \(held) parameters")
        }
        let names = try nonNull(names, "names")
        let data = try nonNull(data, "data")
        let bytes = try nonNull(bytes, "bytes")
        var changes: [Network: [(index: Int, value: ParameterValue)]] = [:]
        var seen: Set<String> = []
        var faults: [DimError] = []
        for entry in 0..<count {
            do {
                let name = try string(names[entry], "names[\(entry)]")
                let place = try parameterPlace(name, parameters, model)
                let spec = parameters.specs[place]
                guard let values = data[entry] else { throw DimError(.invalidArgument, "\(name): data is NULL") }
                guard seen.insert(name).inserted else { throw DimError(.invalidArgument, "\(name) is listed twice") }
                let value = try checkedValue(spec, values, bytes[entry])
                changes[spec.network, default: []].append((index: parameters.index(of: place), value: value))
            } catch let error as DimError where error.code != .outOfMemory {
                faults.append(error)
            }
        }
        if let first = faults.first {
            throw DimError(first.code, faults.map(\.message).joined(separator: "\n"))
        }
        model.replace(changes)
    }
}

// MARK: Checks

private func unknownName(_ given: String, _ model: Model) -> DimError {
    let name = given.knownName
    if let spec = model.architecture.parameters.first(where: { $0.name == name }) {
        return DimError(.unknownName, "the model holds no \(spec.network.prefix), so no parameter \"\(spec.name)\"")
    }
    let ending = "." + (name.split(separator: ".").suffix(2).joined(separator: "."))
    let similar = model.parameters.specs.map(\.name).filter {
        $0.hasSuffix(ending) || ending.hasSuffix($0)
    }
    let example = model.parameters.specs.first.map { "names look like \"\($0.name)\"" } ?? "the model has none"
    let hint = similar.isEmpty ? example : "similar: " + similar.joined(separator: ", ")
    return DimError(.unknownName, "no parameter is named \"\(printable(given))\"; \(hint)")
}

private func parameterPlace(_ name: String, _ parameters: ParameterTable, _ model: Model) throws -> Int {
    guard let place = parameters.place(of: name) else { throw unknownName(name, model) }
    return place
}

func checkBytes(_ bytes: Int, _ spec: ParameterSpec) throws {
    guard bytes == spec.bytes else {
        let shape = spec.shape.map(String.init).joined(separator: ", ")
        throw DimError(
            .sizeMismatch,
            "\(spec.name) has shape (\(shape)) and \(spec.bytes) bytes of \(spec.isInteger ? "int64" : "float32"); "
                + "found \(UInt(bitPattern: bytes))")
    }
}

private func checkedValue(_ spec: ParameterSpec, _ data: UnsafeRawPointer, _ bytes: Int) throws -> ParameterValue {
    try checkBytes(bytes, spec)
    if spec.isInteger {
        let count = data.loadUnaligned(as: Int64.self)
        if let fault = ParameterRules.fault(spec, count) { throw DimError(.invalidArgument, fault) }
        return .counter(count)
    }
    let buffer = try Buffer(uninitialized: spec.count)
    memcpy(buffer.pointer, data, spec.bytes)
    if let fault = ParameterRules.fault(spec, buffer.pointer) { throw DimError(.invalidArgument, fault) }
    return .floats(buffer)
}
