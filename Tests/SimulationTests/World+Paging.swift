import MQTTCore
import MQTTStore

/// What `Pager` does: it reads from the store what the core wants of long queues.
extension World {
    /// The store gives a page as it is when it is read, and the core gets it when much may have happened since.
    struct Reading {
        let request: PageRequest
        let messages: [StoredMessage]
    }

    /// Pages are taken and read, or one that was read arrives.
    func pageAStep() throws {
        if reading.isEmpty {
            let requests = core.takePageRequests()
            if !requests.isEmpty { advanceImage() }
            reading = requests.map { Reading(request: $0, messages: read($0.page)) }
            return
        }
        let next = reading.remove(at: random.below(reading.count))
        note(
            "a page of \(next.messages.count) messages of session \(next.request.page.incarnation) from \(next.request.page.number)"
        )
        core.loaded(next.request, next.messages, at: now)
        for loop in core.loopsToWake(besides: -1) { loops[loop].isWoken = true }
        try perform(AfterTurn(loop: 0, output: [], isHungry: false))
    }

    private func read(_ page: StoredPage) -> [StoredMessage] {
        let messages = image.messages(of: page.incarnation).filter { $0.number >= page.number }
        var bytes = 0
        // Any number from one on is a page.
        return messages.prefix(min(page.count, 1 + random.below(100))).prefix { message in
            defer { bytes += message.message?.encodedBytes ?? 0 }
            return bytes < page.bytes
        }
    }

    /// Takes up in the image what is committed.
    func advanceImage() {
        let count = changesSinceImage.prefix { $0.ticket <= store.committed }.count
        for change in changesSinceImage.prefix(count) { image.apply(change.change) }
        changesSinceImage.removeFirst(count)
    }
}
