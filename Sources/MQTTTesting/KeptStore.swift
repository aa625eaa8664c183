import MQTTStore
import MQTTStoreTesting
import Synchronization

/// A durable store in memory, which outlives the brokers of one test: what a second broker is given is what the first has
/// acknowledged.
public final class KeptStore: MessageStore {
    private let contents = Mutex(StoreContents())

    /// An empty one.
    public init() {}

    /// True: what was acknowledged waited for this store.
    public var isDurable: Bool { true }

    /// All that was committed.
    public func open() async throws -> StoredState { contents.withLock { $0.state } }

    /// What a page holds.
    public func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        contents.withLock { contents in
            pages.map { page in
                var bytes = 0
                let messages = contents.messages(of: page.incarnation, from: page.number).prefix(page.count)
                return Array(
                    messages.prefix { message in
                        defer { bytes += message.message?.encodedBytes ?? 0 }
                        return bytes < page.bytes
                    }
                )
            }
        }
    }

    /// At once.
    public func commit(_ changes: [StoreChange]) async throws { contents.withLock { $0.apply(changes) } }
}
