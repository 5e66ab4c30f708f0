# A login shell's PATH is written anew by /etc/profile; this puts the project's environment back in front.
PATH=/opt/spikecrate/bin:$PATH
