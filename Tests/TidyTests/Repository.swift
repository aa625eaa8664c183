import Foundation

/// The files of this repository, without what is built, installed or generated.
enum Repository {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Hidden files that belong to the repository; all others do not.
    private static let hiddenNames: Set = [".ci", ".gitignore", ".swift-format"]
    private static let generatedNames: Set = ["apus-data", "__pycache__", "node_modules", "Package.resolved"]

    struct File: Sendable {
        /// Relative to the root.
        var path: String
        var text: String
    }

    /// The text files below a folder, in the order of their paths. A folder that is missing has none.
    static func files(in folder: String = "", withSuffix suffix: String = "") -> [File] {
        self.paths(in: folder).sorted().compactMap { path in
            guard path.hasSuffix(suffix) else { return nil }
            guard let data = try? Data(contentsOf: self.root.appending(path: path)) else { return nil }
            return String(data: data, encoding: .utf8).map { File(path: path, text: $0) }
        }
    }

    static func folders(in folder: String) -> [String] {
        self.names(in: folder).filter { self.isFolder("\(folder)/\($0)") }.sorted()
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: self.root.appending(path: path).path)
    }

    private static func paths(in folder: String) -> [String] {
        self.names(in: folder).flatMap { name in
            let path = folder.isEmpty ? name : "\(folder)/\(name)"
            return self.isFolder(path) ? self.paths(in: path) : [path]
        }
    }

    private static func names(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.root.appending(path: folder).path)) ?? []
        return names.filter { name in
            (!name.hasPrefix(".") || self.hiddenNames.contains(name)) && !self.generatedNames.contains(name)
        }
    }

    private static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(
            atPath: self.root.appending(path: path).path,
            isDirectory: &isFolder
        )
        return exists && isFolder.boolValue
    }
}
