import MQTTStore
import MQTTStoreTesting
import Synchronization

/// A durable store that lasts as long as the test.
final class KeptStore: MessageStore {
    let isDurable = true
    private let contents = Mutex(StoreContents())

    func open() async throws -> StoredState { contents.withLock { $0.state } }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
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

    func commit(_ changes: [StoreChange]) async throws { contents.withLock { $0.apply(changes) } }
}
