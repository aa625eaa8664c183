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
            // Any number from one on is a page.
            let pages = requests.map { request in
                var page = request.page
                page.count = min(page.count, 1 + random.below(100))
                return page
            }
            guard let read = try readStore(pages) else { return }
            reading = zip(requests, read).map { Reading(request: $0, messages: $1) }
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
}
