throw new Error('not me');
