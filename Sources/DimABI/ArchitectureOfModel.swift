import CDim
import DimArchitecture
import DimFiles
import DimModel
import DimRuntime
import Glibc

/// The sizes of a model's arrays and its class names, from its architecture.

@_cdecl("dim_model_create_with") @implementation
public func dim_model_create_with(
    _ architecture: OpaquePointer!, _ seed: UInt64, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let architecture = try DimABI.architecture(architecture)
        let out = try nonNull(out, "out")
        out.pointee = HandleTable.make(try Model(architecture, seed: seed))
    }
}

@_cdecl("dim_model_architecture") @implementation
public func dim_model_architecture(_ model: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!) -> dim_status
{
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try nonNull(out, "out").pointee = HandleTable.make(ArchitectureBox(model.architecture))
    }
}

@_cdecl("dim_model_sizes") @implementation
public func dim_model_sizes(_ model: OpaquePointer!, _ out: UnsafeMutablePointer<dim_sizes>!) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let out = try nonNull(out, "out")
        try checkSize(out.pointee.struct_size, MemoryLayout<dim_sizes>.size, "dim_sizes")
        let sizes = model.sizes
        var result = dim_sizes()
        result.struct_size = MemoryLayout<dim_sizes>.size
        (result.image_channels, result.image_height, result.image_width) = sizes.image.extents
        (result.features_channels, result.features_height, result.features_width) = sizes.features.extents
        result.encoded = sizes.encoded
        if let local = sizes.local { (_, result.local_height, result.local_width) = local.extents }
        if let map = sizes.globalMap {
            (result.global_channels, result.global_height, result.global_width) = map.extents
        }
        if let map = sizes.conv { (result.conv_channels, result.conv_height, result.conv_width) = map.extents }
        result.fc = sizes.fc
        result.classes = sizes.classes
        result.max_images = maximumImages
        out.pointee = result
    }
}

extension MapShape {
    fileprivate var extents: (Int, Int, Int) { (channels, height, width) }
}

@_cdecl("dim_model_set_class_names") @implementation
public func dim_model_set_class_names(
    _ model: OpaquePointer!, _ count: Int, _ names: UnsafePointer<UnsafePointer<CChar>?>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        guard count != 0 else { return model.classNames = [] }
        let classes = model.sizes.classes
        guard classes > 0 else {
            throw DimError(.missingNetwork, "the model's architecture has no classifier, so no classes to name")
        }
        _ = try model.snapshot(.classifier)  // A file without a classifier keeps no names.
        guard count == classes else {
            throw DimError(
                .sizeMismatch, "count is \(UInt(bitPattern: count)); expected 0 or \(classes), a name for each class")
        }
        let names = try nonNull(names, "names")
        let texts = try (0..<count).map { try className(names[$0], "names[\($0)]") }
        if let (first, second) = ClassNames.repeated(texts) {
            throw DimError(.invalidArgument, "names[\(first)] and names[\(second)] are the same, \(texts[first])")
        }
        let bytes = ClassNames.json(texts).utf8.count
        guard bytes <= FileLabels.mostNames else {
            throw DimError(
                .tooLarge,
                "the names take \(bytes) bytes together; a weights file keeps at most \(FileLabels.mostNames)")
        }
        model.classNames = texts
    }
}

private func className(_ pointer: UnsafePointer<CChar>?, _ place: String) throws -> String {
    let pointer = try nonNull(pointer, place)
    let length = strnlen(pointer, ClassNames.mostBytes + 1)
    let bytes = UnsafeRawBufferPointer(start: pointer, count: min(length, ClassNames.mostBytes))
    guard length <= ClassNames.mostBytes else {
        throw DimError(
            .invalidArgument,
            "\(place) is over \(ClassNames.mostBytes) bytes long; expected 1 to \(ClassNames.mostBytes)")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw DimError(.invalidArgument, "\(place) is not UTF-8")
    }
    if let fault = ClassNames.fault(text) { throw DimError(.invalidArgument, "\(place) \(fault)") }
    return text
}

@_cdecl("dim_model_class_name") @implementation
public func dim_model_class_name(
    _ model: OpaquePointer!, _ index: Int, _ out: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let classes = model.sizes.classes
        guard (0..<classes).contains(index) else {
            throw DimError(
                .invalidArgument, "index is \(UInt(bitPattern: index)); the model's number of classes is \(classes)")
        }
        let names = model.classNames
        try write(names.isEmpty ? "" : names[index], "the name", to: out, capacity: capacity, needed: needed)
    }
}
