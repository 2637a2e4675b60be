"""The product against emulators of AWS that other people wrote: a second opinion on what AWS answers."""
