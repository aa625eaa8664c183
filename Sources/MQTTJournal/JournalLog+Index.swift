/// The index of the segment that is being written: a page each time that much has come together, in front of a batch, whose
/// sync makes it last too, and one when the segment is sealed.
extension JournalLog {
    func writePageIfDue(_ segment: Segment) throws(FileError) {
        guard let page = segment.page, !isFull, page.isDue(at: segment.end, stretchBytes: options.stretchBytes) else {
            return
        }
        encodePage(page, of: segment)
        // Where the segment ends with this batch, the page comes when it is sealed.
        let room = segment.capacity - segment.end - encoder.bytes - JournalFormat.endMarkBytes
        if pageEncoder.bytes <= room { try writePage(segment) }
    }

    /// Without room for the page, the segment has no index and is read when the journal is opened.
    func writeLastPage(_ segment: Segment) throws(FileError) {
        guard let page = segment.page, page.start < segment.end else { return }
        encodePage(page, of: segment)
        do throws(FileError) {
            try writePage(segment)
        } catch let error where error.isFull {
            return
        }
    }

    private func encodePage(_ page: IndexPageBuilder, of segment: Segment) {
        pageEncoder.clear()
        page.encode(into: &pageEncoder, end: segment.end)
        pageEncoder.end(batch: nextBatch, seed: segment.file.seed, offset: segment.end)
    }

    private func writePage(_ segment: Segment) throws(FileError) {
        segment.isDirty = true
        try segment.file.file.write(pageEncoder.buffer, at: segment.end)
        let start = segment.end
        segment.end += pageEncoder.bytes
        pageBytes += pageEncoder.bytes
        segment.page?.pageEnded(from: start, to: segment.end, nextBatch: nextBatch)
    }
}
