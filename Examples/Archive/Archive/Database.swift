import CSQLite
import MQTTServer

/// Messages in a table of SQLite. A row that was inserted survives a loss of power.
actor Database {
    /// What SQLite says.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let connection: OpaquePointer
    private let insertion: OpaquePointer
    /// Lets SQLite copy what it is given (SQLITE_TRANSIENT).
    private static let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    init(path: String) throws {
        var opened: OpaquePointer?
        guard sqlite3_open(path, &opened) == SQLITE_OK, let connection = opened else {
            throw Failure(description: "\(path): \(String(cString: sqlite3_errmsg(opened)))")
        }
        let schema = """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS message (
                id INTEGER PRIMARY KEY, client TEXT NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL, payload BLOB NOT NULL
            );
            """
        var statement: OpaquePointer?
        let insert = "INSERT INTO message (client, topic, qos, payload) VALUES (?, ?, ?, ?)"
        guard sqlite3_exec(connection, schema, nil, nil, nil) == SQLITE_OK,
            sqlite3_prepare_v2(connection, insert, -1, &statement, nil) == SQLITE_OK, let statement
        else {
            throw Failure(description: "\(path): \(String(cString: sqlite3_errmsg(connection)))")
        }
        self.connection = connection
        insertion = statement
    }

    /// Comes back when the row is on the disk.
    func insert(_ message: Message, from clientID: String) throws {
        defer { sqlite3_reset(insertion) }
        let payload = Array(message.payload.readableBytesView)
        let isBound = [
            sqlite3_bind_text(insertion, 1, clientID, -1, Self.copied),
            sqlite3_bind_text(insertion, 2, message.topic, -1, Self.copied),
            sqlite3_bind_int(insertion, 3, Int32(message.qos.rawValue)),
            sqlite3_bind_blob(insertion, 4, payload, Int32(payload.count), Self.copied),
        ].allSatisfy { $0 == SQLITE_OK }
        guard isBound, sqlite3_step(insertion) == SQLITE_DONE else {
            throw Failure(description: String(cString: sqlite3_errmsg(connection)))
        }
    }
}
