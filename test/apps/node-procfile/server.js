throw new Error('the Procfile comes first');
